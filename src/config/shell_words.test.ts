import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitCommand } from './shell_words.ts';

test('splits as a shell would', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['node server.mjs', ['node', 'server.mjs']],
    ['  a   b\t c ', ['a', 'b', 'c']],
    [`a 'b c' "d e"`, ['a', 'b c', 'd e']],
    [`a''b "" c`, ['ab', '', 'c']],
    [String.raw`a\ b "c\"d" 'e\f' "g\h"`, ['a b', 'c"d', String.raw`e\f`, String.raw`g\h`]],
    ['uvicorn app:app --uds {socket}', ['uvicorn', 'app:app', '--uds', '{socket}']],
    [`python -c 'print(1); x'`, ['python', '-c', 'print(1); x']],
  ];
  for (const [line, words] of cases) assert.deepEqual(splitCommand(line), { ok: true, words }, line);
});

test('refuses what only a shell can do, and what is not finished', () => {
  for (const line of [
    'a | b',
    'a && b',
    'a > f',
    'a; b',
    'echo $HOME',
    'a `b`',
    'a "$(b)"',
    "a 'b",
    'a "b',
    'a \\',
    '',
    ' ',
  ]) {
    assert.equal(splitCommand(line).ok, false, line);
  }
});
