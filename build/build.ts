/** `npm run build`: dist/proxy, one executable that needs no Node, and dist/package, what npm installs. */
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from './bundle.ts';
import { buildExecutable } from './executable.ts';
import { collectNotices, readManifest } from './notices.ts';
import { writePackage } from './package.ts';
import { billOfMaterials } from './sbom.ts';
import { formatTable, print } from '../src/cli/terminal.ts';

const ROOT = path.join(import.meta.dirname, '..');
const { values } = parseArgs({ options: { out: { type: 'string', default: path.join(ROOT, 'dist') } } });
const dist = path.resolve(values.out);

const { code, id, packages } = await bundle(ROOT);
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
buildExecutable({ bundle: at('proxy.cjs'), licences: at('LICENSES'), output: at('proxy') });
writePackage(ROOT, dist, ['proxy.cjs', 'LICENSES', 'sbom.cdx.json']);

const files = ['proxy', 'proxy.cjs', 'LICENSES', 'sbom.cdx.json'];
const size = (file: string): string => `${(statSync(at(file)).size / 2 ** 20).toFixed(1)} MiB`;
print(formatTable(files.map((file) => [path.relative(process.cwd(), at(file)), size(file)])));
print(`proxy ${version}: ${packages.length} packages and Node ${process.versions.node}`);
