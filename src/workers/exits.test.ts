import assert from 'node:assert/strict';
import { test } from 'node:test';
import { classifyExit } from './exits.ts';
import type { Exit } from './exits.ts';
import type { Cause } from './states.ts';

const NONE: Exit = {
  code: null,
  signal: null,
  asked: false,
  killed: false,
  wasReady: true,
  outOfMemory: false,
  tail: [],
};
const UNREADY = { wasReady: false };
const IN_USE = [
  'Error: listen EADDRINUSE: address already in use 127.0.0.1:5000',
  "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 5000): address already in use",
  "[ERROR] Connection in use: ('127.0.0.1', 5000)",
];

const CASES: readonly (readonly [string, Partial<Exit>, Cause])[] = [
  ['uvicorn whose app cannot be imported', { code: 3, ...UNREADY }, 'boot'],
  ['gunicorn whose app cannot be loaded', { code: 4, ...UNREADY }, 'boot'],
  ['any end before it was ready', { code: 0, ...UNREADY }, 'boot'],
  ['a crash of the interpreter before it was ready', { signal: 'SIGSEGV', ...UNREADY }, 'boot'],
  ['a command that a shell did not find', { code: 127, ...UNREADY }, 'command'],
  ['a command that is not executable', { code: 126, ...UNREADY }, 'command'],
  ['127 of one that had run', { code: 127 }, 'crash'],
  ['3 of one that had run', { code: 3 }, 'crash'],
  ['a crash of the interpreter', { signal: 'SIGSEGV' }, 'crash'],
  ['one that gave itself up', { code: 0 }, 'clean'],
  ['KILL from somebody', { signal: 'SIGKILL' }, 'killed'],
  ['KILL from the kernel', { signal: 'SIGKILL', outOfMemory: true }, 'oom'],
  ['KILL from the kernel before it was ready', { signal: 'SIGKILL', outOfMemory: true, ...UNREADY }, 'oom'],
  ['KILL from the kernel while it was stopping', { signal: 'SIGKILL', outOfMemory: true, asked: true }, 'oom'],
  ['KILL from us while others lack memory', { signal: 'SIGKILL', outOfMemory: true, killed: true }, 'killed'],
  ['ABRT from us, to have it say where it hangs', { signal: 'SIGABRT', killed: true }, 'killed'],
  ['another end while others lack memory', { code: 1, outOfMemory: true }, 'crash'],
  ['TERM from somebody else', { signal: 'SIGTERM' }, 'signal'],
  ['TERM from somebody else before it was ready', { signal: 'SIGTERM', ...UNREADY }, 'signal'],
  ['told to end, it ends', { code: 0, asked: true }, 'clean'],
  ['told to end, uvicorn ends by the signal', { signal: 'SIGTERM', asked: true }, 'clean'],
  ['told to end, a shell passes that on', { code: 143, asked: true }, 'clean'],
  ['told to end before it was ready', { signal: 'SIGTERM', asked: true, ...UNREADY }, 'clean'],
  ['told to end, it fails at it', { code: 1, asked: true }, 'crash'],
  ...IN_USE.map((line) => [line, { code: 1, tail: ['starting', line], ...UNREADY }, 'port_taken'] as const),
  ['an address in use of one that had run', { code: 1, tail: IN_USE }, 'crash'],
  ['an address in use long ago', { code: 1, tail: [...IN_USE, ...Array<string>(50).fill('x')], ...UNREADY }, 'boot'],
];

for (const [what, exit, cause] of CASES) {
  test(`${what}: ${cause}`, () => assert.equal(classifyExit({ ...NONE, ...exit }), cause));
}
