/** Every verb, in a pipe and on a terminal, while the daemon runs and while none does. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { run } from './support/processes.ts';
import type { Finished } from './support/processes.ts';
import { onTerminal } from './support/terminal.ts';
import { VERBS } from '../src/cli/cli.ts';
import { createSlots } from '../src/pace.ts';

const MAIN = path.join(ROOT, 'src/main.ts');
const NOWHERE = '/nonexistent/admin.sock';
const SPINNER = /[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] [a-z ]+ \d+s/;
const STACK = /\n\s+at |node:internal/;
/** Each is a process of its own. */
const atATime = createSlots(4);

interface Row {
  readonly words: string;
  /** It asks the daemon, and has nothing to say without. */
  readonly asks: boolean;
  readonly code?: number;
  /** What it says while the daemon runs: on stdout when its code is 0, else on stderr. */
  readonly says: RegExp;
  /** A key of what it prints for programs; null: it has no `--json`. */
  readonly json: string | null;
  /** A terminal shows that it goes on. */
  readonly waits?: boolean;
}

const SAYS: Readonly<Record<string, Row>> = {
  run: { words: 'run', asks: false, code: 1, says: /belongs to a running instance/, json: null },
  init: {
    words: 'init --host localhost --to http://127.0.0.1:1',
    asks: false,
    code: 1,
    says: /proxy\.yaml is there already/,
    json: null,
  },
  validate: { words: 'validate', asks: false, says: /is valid\n$/, json: null },
  schema: { words: 'schema', asks: false, says: /"sites"/, json: null },
  licenses: { words: 'licenses', asks: false, code: 1, says: /this is a checkout/, json: null },
  reload: { words: 'reload', asks: true, says: /^nothing changed/, json: 'changes', waits: true },
  status: { words: 'status', asks: true, says: /^web +up/m, json: 'services' },
  health: { words: 'health --ready', asks: true, says: /^ready\n$/, json: 'ready' },
  logs: { words: 'logs web', asks: true, says: /worker_ready/, json: 'event' },
  deploy: { words: 'deploy shipped', asks: true, says: /^shipped runs release /m, json: 'release', waits: true },
  restart: { words: 'restart rolled', asks: true, says: /^rolled is restarted$/m, json: 'workers', waits: true },
  scale: { words: 'scale sized 1', asks: true, says: /^sized has 1 workers$/m, json: 'workers', waits: true },
  pause: {
    words: 'pause held',
    asks: true,
    says: /^held is paused: proxy resume held\n$/,
    json: 'service',
    waits: true,
  },
  resume: { words: 'resume held', asks: true, says: /^held goes on\n$/, json: 'service', waits: true },
  start: { words: 'start begun', asks: true, says: /^begun is started\n$/, json: 'workers', waits: true },
  stop: { words: 'stop ended', asks: true, says: /^ended is stopped\n$/, json: 'workers', waits: true },
  renew: { words: 'renew', asks: true, says: /^localhost +not due yet/, json: 'results', waits: true },
  certs: { words: 'certs', asks: true, says: /^localhost +internal/m, json: 'certificates' },
};

const NAMES = ['web', 'held', 'shipped', 'rolled', 'sized', 'begun', 'ended'];
const service = (name: string): string =>
  `  ${name}: { command: "node worker.mjs {socket}", directory: FIXTURES, workers: 1 }\n`;

let daemon: Daemon;
let elsewhere: string;
let cache: Readonly<Record<string, string>>;
before(async () => {
  elsewhere = mkdtempSync(path.join(os.tmpdir(), 'proxy-verbs-'));
  // Most of what a verb takes is reading its own code.
  cache = { NODE_COMPILE_CACHE: path.join(elsewhere, 'code') };
  const services = NAMES.map(service).join('');
  const routes = NAMES.map((name) => `{ path: /${name}/, service: ${name} }`);
  const sites = `sites: [{ hosts: [localhost], routes: [${routes.join(', ')}] }]`;
  daemon = await startDaemon({ config: `proxy_processes: 1\n${sites}\nservices:\n${services}` });
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  rmSync(elsewhere, { recursive: true });
});

function inPipe(words: string, env: Readonly<Record<string, string>> = {}, cwd = elsewhere): Promise<Finished> {
  return atATime(() =>
    run(process.execPath, [MAIN, ...words.split(' ')], { cwd, env: { ...process.env, ...cache, ...env } }),
  );
}

/** Its exit code and what was seen, lines as they were printed. */
function atTerminal(words: string): Promise<readonly [number | null, string]> {
  return atATime(async () => {
    const { exited, seen } = onTerminal(`${process.execPath} ${MAIN} ${words}`, { env: cache });
    return [await exited, seen().replaceAll('\r\n', '\n')] as const;
  });
}

const rows = Object.entries(SAYS);
const asking = rows.filter(([, { asks }]) => asks);

test('every verb is among those that are tried here', () => {
  assert.deepEqual(Object.keys(SAYS).toSorted(), VERBS.toSorted());
});

test('without a daemon each verb that asks it says so in one line, and fails', async () => {
  await Promise.all(
    asking.map(async ([verb, { words }]) => {
      const { code, stdout, stderr } = await inPipe(`${words} --socket ${NOWHERE}`);
      assert.deepEqual([code, stdout], [1, ''], verb);
      assert.match(stderr, /^proxy: no daemon answers on \/nonexistent\/admin\.sock: is it running[^\n]*\n$/, verb);
      const [status, seen] = await atTerminal(`${words} --socket ${NOWHERE}`);
      assert.equal(status, 1, verb);
      assert.match(seen, /proxy: no daemon answers on \/nonexistent\/admin\.sock: [^\n]*\n$/, verb);
      assert.doesNotMatch(seen, STACK, verb);
    }),
  );
});

test('with a daemon each verb answers in a pipe without colours, on a terminal alike, and with --json for programs', async () => {
  await Promise.all(
    rows.map(async ([verb, { words, code: expected = 0, says, json, waits = false }]) => {
      const all = `${words} -c ${daemon.file}`;
      const { code, stdout, stderr } = await inPipe(all);
      assert.equal(code, expected, `${verb}: ${stderr}`);
      assert.match(expected === 0 ? stdout : stderr, says, verb);
      assert.equal(expected === 0 ? stderr : stdout, '', verb);
      assert.doesNotMatch(stdout + stderr, /\u001b/, verb);
      assert.doesNotMatch(stderr, STACK, verb);

      const [status, seen] = await atTerminal(all);
      assert.equal(status, expected, `${verb}: ${seen}`);
      assert.match(shown(seen), says, verb);
      assert.equal(SPINNER.test(seen), waits, `${verb}: ${JSON.stringify(seen)}`);

      if (json === null) return;
      const told = await inPipe(`${all} --json`);
      assert.equal(told.code, 0, told.stderr);
      // Events are a line each.
      const text = verb === 'logs' ? (told.stdout.split('\n')[0] ?? '') : told.stdout;
      assert.ok(json in (JSON.parse(text) as object), `${verb}: ${told.stdout}`);
    }),
  );
});

test('who waits for workers is told what becomes of each, line by line', async () => {
  const { stdout } = await inPipe(`restart rolled -c ${daemon.file}`);
  const lines = stdout.trimEnd().split('\n');
  assert.match(lines[0] ?? '', /^\d\d:\d\d:\d\d\.\d{3} worker_ready service=rolled worker=rolled\/0\/g\d+ /);
  assert.match(lines[1] ?? '', /worker_(?:stopped|exited) .*worker=rolled\/0\/g\d+ /);
  assert.equal(lines.at(-1), 'rolled is restarted');
});

test('the daemon is found from any folder: by its file, the environment, its socket, or the file that is there', async () => {
  const answers = await Promise.all([
    inPipe(`health -c ${daemon.file}`),
    inPipe(`health --socket ${daemon.folder}/run/admin.sock`),
    inPipe('health', { PROXY_CONFIG: daemon.file }),
    inPipe('health', {}, daemon.folder),
  ]);
  assert.deepEqual(new Set(answers.map(({ code, stdout }) => `${code} ${stdout}`)), new Set(['0 alive\n']));
});

/** What is left on a screen whose lines were cleared and drawn anew. */
function shown(seen: string): string {
  return seen.replace(/\r\u001b\[2K[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] [^\r\n]*/gu, '').replace(/\r?\u001b\[[\d;]*[mK]/g, '');
}
