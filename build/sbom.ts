/** What the bundle and the executable are made of, as CycloneDX: npm's view of the lock file, less what is not in them. */
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { readManifest } from './notices.ts';

export function billOfMaterials(root: string, packages: readonly string[], version: string): string {
  const npm = spawnSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only', '--omit', 'dev'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (npm.status !== 0) throw new Error(`npm sbom: ${npm.stderr}`);
  const bill = object(JSON.parse(npm.stdout));
  const metadata = object(bill['metadata']);
  const component = object(metadata['component']);
  const known = list(bill['components']);
  const components = packages.map((folder) => {
    const { name, version } = readManifest(path.join(root, folder));
    // npm calls a package as package.json here does, which for an alias is not its name.
    const alias = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const found = known.find((entry) => entry['name'] === alias && entry['version'] === version);
    if (found === undefined) throw new Error(`npm sbom does not know ${name}@${version}, which is in the bundle`);
    const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
    return { ...found, 'bom-ref': `${name}@${version}`, name, purl };
  });
  const contained = components.map((component) => component['bom-ref']);
  const reference = `proxy@${version}`;
  const node = nodeComponent();
  return `${JSON.stringify(
    {
      ...bill,
      // The same from the same inputs: no moment, no random number.
      serialNumber: `urn:uuid:${uuidOf(JSON.stringify([version, contained, node]))}`,
      metadata: {
        lifecycles: [{ phase: 'build' }],
        tools: metadata['tools'],
        component: { ...component, 'bom-ref': reference, type: 'application', name: 'proxy', version },
      },
      components: [...components, node],
      dependencies: [{ ref: reference, dependsOn: [...contained, node['bom-ref']] }],
    },
    null,
    2,
  )}\n`;
}

function nodeComponent(): Readonly<Record<string, unknown>> {
  const version = process.versions.node;
  return {
    'bom-ref': `node@${version}`,
    type: 'platform',
    name: 'node',
    version,
    purl: `pkg:generic/node@${version}`,
    licenses: [{ license: { id: 'MIT' } }],
    // What is linked into it, for those who look for a vulnerable OpenSSL.
    properties: Object.entries(process.versions).map(([name, value]) => ({ name: `node:${name}`, value })),
  };
}

function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new Error('npm sbom: its answer is not what it was');
  return Object.fromEntries(Object.entries(value));
}

function list(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(value)) throw new Error('npm sbom: its answer is not what it was');
  return value.map(object);
}
