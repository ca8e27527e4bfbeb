/** `npm run build`: dist/proxy, one executable that needs no Node, and dist/package, what npm installs. */
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from './bundle.ts';
import { buildExecutable } from './executable.ts';
import { collectNotices, readManifest } from './notices.ts';
import { writePackage } from './package.ts';
import { billOfMaterials } from './sbom.ts';
import { ASSETS_FILE, readSources } from '../src/control/dashboard/assets.ts';
import { formatTable, print } from '../src/cli/terminal.ts';

const ROOT = path.join(import.meta.dirname, '..');
const { values } = parseArgs({ options: { out: { type: 'string', default: path.join(ROOT, 'dist') } } });
const dist = path.resolve(values.out);

const { code, id, packages: bundled } = await bundle(ROOT);
// What the dashboard draws with is handed on, too, and not by the bundle.
const packages = [...bundled, 'node_modules/uplot'].toSorted();
const version = `${readManifest(ROOT).version}+${id}`;
if (!code.includes(`\`${version}\``) && !code.includes(`"${version}"`)) {
  throw new Error(`src/version.ts and package.json name different versions`);
}
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
const at = (file: string): string => path.join(dist, file);
writeFileSync(at('proxy.cjs'), code);
const nodeLicence = path.join(path.dirname(process.execPath), '../LICENSE');
writeFileSync(at('LICENSES'), collectNotices(ROOT, packages, nodeLicence));
writeFileSync(at('sbom.cdx.json'), billOfMaterials(ROOT, packages, version));
writeFileSync(at(ASSETS_FILE), JSON.stringify(readSources(ROOT)));
const assets = { licences: at('LICENSES'), [ASSETS_FILE]: at(ASSETS_FILE) };
buildExecutable({ bundle: at('proxy.cjs'), assets, output: at('proxy') });
const beside = ['proxy.cjs', ASSETS_FILE, 'LICENSES', 'sbom.cdx.json'];
writePackage(ROOT, dist, beside);

const files = ['proxy', ...beside];
const size = (file: string): string => `${(statSync(at(file)).size / 2 ** 20).toFixed(1)} MiB`;
print(formatTable(files.map((file) => [path.relative(process.cwd(), at(file)), size(file)])));
print(`proxy ${version}: ${packages.length} packages and Node ${process.versions.node}`);
