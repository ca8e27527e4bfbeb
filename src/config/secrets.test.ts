import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDocument } from './document.ts';
import { showCommand } from './secrets.ts';
import { splitCommand } from './shell_words.ts';

const ENV = { SECRET: 'hunter2', TWO: 'hunter2 --also', NONE: '' };

/** As the configuration reads it: a line, or a list. */
function shown(yaml: string): readonly string[] {
  const document = readDocument('/proxy.yaml', `command: ${yaml}\n`, ENV);
  const { command } = document.value as { readonly command: string | readonly string[] };
  const split = typeof command === 'string' ? splitCommand(command) : { ok: true as const, words: command };
  assert.ok(split.ok);
  const words = showCommand(split.words, document, ['command']);
  assert.equal(words.length, split.words.length);
  return words;
}

const CASES: readonly (readonly [yaml: string, shown: readonly string[]])[] = [
  ['uvicorn main:app --root-path /api', ['uvicorn', 'main:app', '--root-path', '/api']],
  ['app --x ${SECRET} --y', ['app', '--x', '***', '--y']],
  ['\'app --x="a ${SECRET} b" --y\'', ['app', '***', '--y']],
  ['[app, "${SECRET}", y]', ['app', '***', 'y']],
  // How many words it is shows only when it is filled in.
  ['app ${TWO} y', ['***', '***', '***', '***']],
  ['app ${NONE} y', ['***', '***']],
  ['app --db postgres://u:hunter2@db/x', ['app', '--db', '***']],
  ['app --api-token hunter2 --token=hunter2 y', ['app', '--api-token', '***', '--token=***', 'y']],
  ['app --private --port 1', ['app', '--private', '--port', '1']],
];

for (const [yaml, expected] of CASES) {
  test(`${yaml} is shown without its secrets`, () => {
    const words = shown(yaml);
    assert.deepEqual(words, expected);
    assert.doesNotMatch(words.join(' '), /hunter2/);
  });
}
