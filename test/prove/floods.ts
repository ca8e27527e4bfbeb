/** Floods of HTTP/2 frames in full, what they cost, and what everybody else notices of them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import https from 'node:https';
import http2 from 'node:http2';
import path from 'node:path';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { ROOT, startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { ATTACKED_SITE, FLOODS } from '../support/floods.ts';
import type { Flood, Flooded } from '../support/floods.ts';
import { residentBytes } from '../support/processes.ts';

export const SUMMARY =
  'floods of HTTP/2 are cut off, cost little memory and nobody else notices (SHARE=1 PAIRS=3 FLOOD=a part of its name)';

const MAX_RESIDENT = 300 * 1000 * 1000;
const QUIET_MS = 3_000;
/** Below this a difference is the machine's own. */
const NOISE_MS = 20;

const SHARE = Number(process.env['SHARE'] ?? 1);
const PAIRS = Number(process.env['PAIRS'] ?? 3);
const FLOOD = process.env['FLOOD'] ?? '';

export async function prove(): Promise<void> {
  const rows: (readonly string[])[] = [
    ['flood', 'connections', 'sent', 'GOAWAY', 'left open', 'ms', 'RSS MB', 'p99 ms quiet', 'under it', 'ratio'],
  ];
  const problems: string[] = [];
  for (const flood of FLOODS.filter(({ name }) => name.includes(FLOOD))) {
    const { row, found } = await proveOne(flood);
    rows.push(row);
    problems.push(...found.map((problem) => `${flood.name}: ${problem}`));
  }
  print(formatTable(rows));
  assert.deepEqual(problems, []);
}

async function proveOne(flood: Flood): Promise<{ readonly row: readonly string[]; readonly found: readonly string[] }> {
  await using daemon = await startDaemon({
    entrypoint: 'timeouts: { headers: 5s, idle: 5s, body_idle: 5s, write_idle: 5s }',
    config: `logging: { access: false }\n${ATTACKED_SITE}`,
  });
  const proxies = (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
  const bystanders = await startBystanders(daemon);
  await sleep(1_000);
  const flooded: Flooded[] = [];
  const pairs: (readonly [quiet: number, under: number])[] = [];
  let resident = 0;
  let ms = 0;
  for (let pair = 0; pair < PAIRS; pair++) {
    await using attacker = await startAttacker(daemon, flood);
    const quiet = await bystanders.p99(sleep(QUIET_MS));
    const watch = setInterval(() => {
      for (const pid of proxies) resident = Math.max(resident, residentBytes(pid));
    }, 50);
    const started = performance.now();
    const attack = attacker.attack().then((result) => {
      ms = performance.now() - started;
      return result;
    });
    // The attack, and as much of the time after it as makes it as long as the quiet.
    const under = await bystanders.p99(Promise.all([Promise.race([attack, sleep(2 * QUIET_MS)]), sleep(QUIET_MS)]));
    flooded.push(await attack);
    clearInterval(watch);
    pairs.push([quiet, under]);
    await sleep(500);
  }
  const failures = bystanders.stop();
  pairs.sort((a, b) => ratioOf(a) - ratioOf(b));
  const median = pairs[Math.floor(pairs.length / 2)] ?? assert.fail();
  const sum = (key: keyof Flooded): number => flooded.reduce((total, one) => total + one[key], 0);
  const found = [
    ...(sum('open') > 0 ? [`${sum('open')} connections were left open`] : []),
    ...(resident >= MAX_RESIDENT ? [`a proxy took ${resident} bytes`] : []),
    ...(failures > 0 ? [`${failures} requests of others failed`] : []),
    ...(ratioOf(median) >= 2 ? [`others' p99 was ${ratioOf(median).toFixed(1)} times its quiet value`] : []),
    ...(daemon.events('proxy_exited').length > 0 ? ['a proxy ended'] : []),
  ];
  const figures = [
    sum('connections'),
    sum('sent'),
    sum('goaways'),
    sum('open'),
    Math.round(ms),
    Math.round(resident / 1e6),
  ];
  const row = [
    flood.name,
    ...figures.map(String),
    ...median.map((value) => value.toFixed(1)),
    ratioOf(median).toFixed(2),
  ];
  return { row, found };
}

function ratioOf([quiet, under]: readonly [quiet: number, under: number]): number {
  return Math.max(under, NOISE_MS) / Math.max(quiet, NOISE_MS);
}

interface Attacker extends AsyncDisposable {
  attack(): Promise<Flooded>;
}

/** A process that is ready to attack: to be started takes more of the machine than many an attack. */
async function startAttacker(daemon: Daemon, flood: Flood): Promise<Attacker> {
  const args = [path.join(ROOT, 'test/support/flooder.ts'), String(daemon.ports.https), flood.name, String(SHARE)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  await once(child.stdout, 'data');
  return {
    attack: async () => {
      child.stdin.write('now');
      const [said] = (await once(child.stdout, 'data')) as [Buffer];
      return JSON.parse(String(said)) as Flooded;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await exited;
    },
  };
}

interface Bystanders {
  /** The 99th percentile of the milliseconds that requests took while `time` passed. */
  p99(time: Promise<unknown>): Promise<number>;
  /** Returns how many requests failed. */
  stop(): number;
}

const PAUSE_MS = 10;

/** Clients of both protocols that ask again and again, on connections they keep. */
async function startBystanders(daemon: Daemon): Promise<Bystanders> {
  const over = new AbortController();
  let took: number[] = [];
  let failures = 0;
  const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
  const overHttp1 = (): Promise<boolean> =>
    new Promise((resolve) => {
      https
        .get(`${daemon.origin}/`, { agent }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode === 200));
        })
        .on('error', () => resolve(false));
    });
  const sessions = Array.from({ length: 4 }, () => http2.connect(daemon.origin, { rejectUnauthorized: false }));
  for (const session of sessions) session.on('error', () => {});
  const overHttp2 = (session: http2.ClientHttp2Session): Promise<boolean> =>
    new Promise((resolve) => {
      const stream = session.request({ ':path': '/' });
      let status = 0;
      stream.on('response', (fields) => (status = Number(fields[':status'])));
      stream.on('error', () => {}).on('close', () => resolve(status === 200));
      stream.resume();
    });
  const lane = async (ask: () => Promise<boolean>): Promise<void> => {
    while (!over.signal.aborted) {
      const started = performance.now();
      if (!(await ask()) && !over.signal.aborted) failures++;
      took.push(performance.now() - started);
      await sleep(PAUSE_MS);
    }
  };
  void Promise.all([
    ...Array.from({ length: 4 }, () => lane(overHttp1)),
    ...sessions.map((session) => lane(() => overHttp2(session))),
  ]);
  return {
    p99: async (time) => {
      took = [];
      await time;
      const sorted = took.toSorted((a, b) => a - b);
      return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
    },
    stop: () => {
      over.abort();
      agent.destroy();
      for (const session of sessions) session.destroy();
      return failures;
    },
  };
}
