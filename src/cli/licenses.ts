/** `proxy licenses`: of what this program is made of. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { getAsset, isSea } from 'node:sea';
import { complain, print } from './terminal.ts';

export function licenses(): number {
  const text = isSea() ? getAsset('licences', 'utf8') : readBeside(process.argv[1] ?? '');
  if (text === null) {
    complain('proxy: this is a checkout: see LICENSE, and each package in node_modules');
    return 1;
  }
  print(text);
  return 0;
}

function readBeside(program: string): string | null {
  try {
    return readFileSync(path.join(path.dirname(program), 'LICENSES'), 'utf8');
  } catch {
    return null;
  }
}
