/** The licences of everything that is handed on, in one text. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

interface Notice {
  readonly title: string;
  readonly text: string;
}

const LICENCE_FILE = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

/** Throws for a package that says nothing of its licence: what may not be handed on is not built. */
export function collectNotices(root: string, packages: readonly string[], nodeLicence: string): string {
  const notices = [
    { title: 'proxy', text: readFileSync(path.join(root, 'LICENSE'), 'utf8') },
    ...packages.map((folder) => noticeOf(path.join(root, folder))),
    { title: 'Node.js and what it contains', text: readFileSync(nodeLicence, 'utf8') },
  ];
  return notices
    .map(({ title, text }) => `${'='.repeat(80)}\n${title}\n${'='.repeat(80)}\n\n${text.trim()}\n`)
    .join('\n');
}

function noticeOf(folder: string): Notice {
  const { name, version, licence, author } = readManifest(folder);
  const texts = readdirSync(folder)
    .filter((file) => LICENCE_FILE.test(file))
    .toSorted()
    .map((file) => readFileSync(path.join(folder, file), 'utf8').trim());
  if (licence === null) throw new Error(`${name}@${version} does not say its licence`);
  const own = texts.length > 0 ? texts.join('\n\n') : `${licence}${author === null ? '' : `, by ${author}`}`;
  return { title: `${name} ${version} (${licence})`, text: own };
}

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly licence: string | null;
  readonly author: string | null;
}

export function readManifest(folder: string): Manifest {
  const manifest: unknown = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const text = (key: string, of: unknown = manifest): string | null => {
    const value: unknown = typeof of === 'object' && of !== null ? Reflect.get(of, key) : null;
    return typeof value === 'string' ? value : value === null || value === undefined ? null : text('name', value);
  };
  return {
    name: text('name') ?? folder,
    version: text('version') ?? '0',
    licence: text('license'),
    author: text('author'),
  };
}
