/** All of src/ and of the packages it uses in one file, the same from the same inputs. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { build } from 'esbuild';

export interface Bundle {
  readonly code: string;
  /** Names the content. */
  readonly id: string;
  /** Folders of the packages that are in it, relative to the root. */
  readonly packages: readonly string[];
}

/** As long as what replaces it. */
const PLACEHOLDER = '@id-of-build';

export async function bundle(root: string): Promise<Bundle> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: ['src/main.ts'],
    bundle: true,
    platform: 'node',
    target: 'node26',
    // An executable takes compiled code along for CommonJS alone.
    format: 'cjs',
    // Names stay as they are: stack traces are read by people.
    minifySyntax: true,
    minifyWhitespace: true,
    // The notices go into a file of their own, with those of packages that have no such comments.
    legalComments: 'none',
    // The dashboard's files are not where they are in a checkout.
    define: { PROXY_BUILD: JSON.stringify(PLACEHOLDER), 'import.meta.dirname': 'undefined' },
    metafile: true,
    write: false,
    outfile: 'proxy.cjs',
    logLevel: 'warning',
  });
  const text = result.outputFiles[0]?.text ?? '';
  const id = createHash('sha256').update(text).digest('hex').slice(0, PLACEHOLDER.length);
  const packages = new Set(Object.keys(result.metafile.inputs).flatMap((file) => packageOf(file) ?? []));
  return { code: text.replaceAll(PLACEHOLDER, id), id, packages: [...packages].toSorted() };
}

/** `node_modules/a/node_modules/@b/c` of a file in it. */
function packageOf(file: string): string | null {
  return /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1]?.split(path.sep).join('/') ?? null;
}
