/**
 * The files of the page. A checkout reads them where they are written, without their types; the bundle has them beside it,
 * the executable in it, as the build took them from here.
 */
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { getAsset, isSea } from 'node:sea';

/** In the executable, and a file beside the bundle. */
export const ASSETS_FILE = 'dashboard.json';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.ts': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const OURS = ['index.html', 'style.css', 'icon.svg', 'page.ts', 'view.ts', 'charts.ts', 'dom.ts', 'format.ts'];
const THEIRS: Readonly<Record<string, string>> = {
  'uplot.js': 'node_modules/uplot/dist/uPlot.esm.js',
  'uplot.css': 'node_modules/uplot/dist/uPlot.min.css',
};
export const ASSET_NAMES: readonly string[] = [...OURS, ...Object.keys(THEIRS)];

/** What a browser is to take a file for. */
export function typeOf(name: string): string {
  return TYPES[path.extname(name)] ?? 'application/octet-stream';
}

/** Reads the files when the first of them is asked for; most daemons are never looked at. */
export function createAssets(): (name: string) => string {
  let texts: Readonly<Record<string, string>> | null = null;
  return (name) => (texts ??= readTexts())[name] ?? '';
}

function readTexts(): Readonly<Record<string, string>> {
  if (isSea()) return JSON.parse(getAsset(ASSETS_FILE, 'utf8')) as Record<string, string>;
  const folder = import.meta.dirname as string | undefined;
  // A bundle of CommonJS has no such thing.
  if (folder !== undefined) return readSources(path.join(folder, '../../..'));
  const file = path.join(path.dirname(process.argv[1] ?? ''), ASSETS_FILE);
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
}

/** By name, of a checkout. */
export function readSources(root: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    ASSET_NAMES.map((name) => {
      const text = readFileSync(path.join(root, THEIRS[name] ?? `src/control/dashboard/page/${name}`), 'utf8');
      return [name, name.endsWith('.ts') ? stripTypeScriptTypes(text) : text];
    }),
  );
}
