/** Runs a scenario: its contenders in turns, A B C A B C …, so that each round has all of them on the same machine. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { auditAccessLog } from './access_log_audit.ts';
import type { Contender, ContenderKind, Stage } from './contenders/contender.ts';
import { checkWork } from './load.ts';
import type { Tools } from './load.ts';
import { pinned } from './machine.ts';
import type { Layout } from './machine.ts';
import type { Measure, Sample, Scenario } from './scenarios.ts';
import { sleep } from '../../src/lifecycle.ts';
import { FIXTURES, freePort } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { run } from '../support/processes.ts';

/** After a turn: sockets close, buffers are flushed. */
const PAUSE_MS = 100;

export interface Bench {
  readonly tools: Tools;
  readonly layout: Layout;
  readonly tls: Stage['tls'];
  readonly rounds: number;
  /** Called after each round. */
  readonly onRound: (round: number) => void;
}

/** One sample per round of each contender that is installed. */
export type Results = ReadonlyMap<string, readonly Sample[]>;

export async function runScenario(bench: Bench, scenario: Scenario): Promise<Results> {
  const kinds = scenario.contenders.filter((kind) => kind.version() !== null);
  await using workers = scenario.workersAt === 'ports' ? await startWorkers(bench.layout) : null;
  const turns = await (scenario.fresh ? freshTurns : lastingTurns)(bench, scenario, kinds, workers?.addresses ?? []);
  await using _ = turns;
  const results = new Map<string, Sample[]>(kinds.map(({ name }) => [name, []]));
  for (let round = 0; round < bench.rounds; round++) {
    for (const { name } of kinds) {
      results.get(name)?.push(await turns.measure(name));
      await sleep(PAUSE_MS);
    }
    bench.onRound(round);
  }
  await turns.finish();
  return results;
}

interface Turns extends AsyncDisposable {
  measure(name: string): Promise<Sample>;
  /** Checks what only shows later. */
  finish(): Promise<void>;
}

/** Contenders that live through all rounds, warm. */
async function lastingTurns(
  bench: Bench,
  scenario: Scenario,
  kinds: readonly ContenderKind[],
  addresses: readonly string[],
): Promise<Turns> {
  await using started = new AsyncDisposableStack();
  const contenders: Contender[] = [];
  let workers = addresses;
  for (const kind of kinds) {
    const contender = started.use(await kind.start(stage(bench, scenario, kind, workers)));
    contenders.push(contender);
    // The first is one of ours: the others stand before the workers it launched.
    ({ workers } = contender);
  }
  const audits = new Map(contenders.map((contender) => [contender.name, auditAccessLog(contender)]));
  for (const contender of contenders) await checkWork(bench.tools, contender);
  const measure = await scenario.prepare(bench.tools, contenders);
  // Not counted: code is compiled, connections to the workers are opened.
  for (const contender of contenders) audits.get(contender.name)?.expect((await measure(contender)).answers);
  const all = started.move();
  return {
    measure: async (name) => {
      const contender = contenders.find((other) => other.name === name);
      const audit = audits.get(name);
      if (contender === undefined || audit === undefined) throw new Error(`no contender ${name}`);
      // Of the turn before: by now all is written.
      await audit.verify();
      const sample = await measure(contender);
      audit.expect(sample.answers);
      return sample;
    },
    finish: async () => {
      for (const audit of audits.values()) await audit.verify();
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** A process of its own for each turn. */
async function freshTurns(
  bench: Bench,
  scenario: Scenario,
  kinds: readonly ContenderKind[],
  addresses: readonly string[],
): Promise<Turns> {
  const measure: Measure = await scenario.prepare(bench.tools, []);
  return {
    measure: async (name) => {
      const kind = kinds.find((other) => other.name === name);
      if (kind === undefined) throw new Error(`no contender ${name}`);
      await using contender = await kind.start(stage(bench, scenario, kind, addresses));
      return await measure(contender);
    },
    finish: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function stage(
  bench: Bench,
  { accessLog, spread }: Scenario,
  { name }: ContenderKind,
  workers: readonly string[],
): Stage {
  const folder = mkdtempSync(path.join(bench.tools.folder, `${name.replaceAll(/\W+/g, '-')}-`));
  // Our proxies are nobody when we are root.
  chmodSync(folder, 0o755);
  const { contender, all, workers: cores } = bench.layout;
  const core = spread ? all : contender;
  return { folder, core, workerCores: cores.join(','), tls: bench.tls, workers, accessLog };
}

interface Workers extends AsyncDisposable {
  readonly addresses: readonly string[];
}

/** Two workers at ports, for contenders that launch none. */
async function startWorkers(layout: Layout): Promise<Workers> {
  const started = await Promise.all(
    layout.workers.map(async (core) => {
      const port = await freePort();
      const [command = '', ...args] = [...pinned(core), process.execPath, 'bench_worker.mjs', String(port)];
      const child = spawn(command, args, { cwd: FIXTURES, stdio: 'inherit' });
      const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
      return { address: `127.0.0.1:${port}`, child, exited };
    }),
  );
  for (const { address } of started) await eventually(async () => (await run('curl', ['-s', address])).code === 0);
  return {
    addresses: started.map(({ address }) => address),
    [Symbol.asyncDispose]: async () => {
      for (const { child } of started) child.kill('SIGTERM');
      await Promise.all(started.map(({ exited }) => exited));
    },
  };
}

/** An ECDSA P-256 certificate for localhost, in files only their owner reads. */
export async function makeCertificate(folder: string): Promise<Stage['tls']> {
  const tls = path.join(folder, 'tls');
  mkdirSync(tls, { mode: 0o700 });
  const files = { certificate: `${tls}/certificate.pem`, key: `${tls}/key.pem`, both: `${tls}/both.pem` };
  const { code, stderr } = await run('sh', [
    '-c',
    `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
       -addext subjectAltName=DNS:localhost -out "$1" -keyout "$2" && cat "$1" "$2" >"$3"`,
    'sh',
    ...Object.values(files),
  ]);
  if (code !== 0) throw new Error(`openssl: ${stderr}`);
  return files;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
