/** Requests in numbers, each accounted for: sent, executed by a worker, answered. */
import { connect as connectHttp2 } from 'node:http2';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import type { Daemon } from './daemon.ts';
import { run } from './processes.ts';
import { sleep } from '../../src/lifecycle.ts';

export interface Answered {
  readonly id: string;
  readonly method: string;
  /** 0: the connection ended without an answer. */
  readonly status: number;
  readonly error: string | null;
}

export interface Account {
  readonly answers: readonly Answered[];
  /** How often each id was executed, over all workers. */
  readonly executions: ReadonlyMap<string, number>;
}

export interface AccountedClient extends Disposable {
  /** Sends a request with an id of its own; resolves whatever comes of it. */
  send(method: string, path?: string): Promise<Answered>;
}

let ids = 0;

/** Keep-alive connections, at most so many at once. */
export function createAccountedClient(daemon: Daemon, connections: number): AccountedClient {
  const agent = new https.Agent({ keepAlive: true, maxSockets: connections, rejectUnauthorized: false });
  return {
    send: (method, path = '/') =>
      new Promise((resolve) => {
        const id = `r${process.pid}-${ids++}`;
        const body = method === 'POST' ? 'x' : undefined;
        const request = https.request(
          `${daemon.origin}${path}`,
          { agent, method, headers: { 'x-id': id, ...(body === undefined ? {} : { 'content-length': 1 }) } },
          (response) => {
            response.resume();
            response.on('end', () => resolve({ id, method, status: response.statusCode ?? 0, error: null }));
            response.on('error', (error) => resolve({ id, method, status: 0, error: error.message }));
          },
        );
        request.on('error', (error) => resolve({ id, method, status: 0, error: error.message }));
        request.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** The same over HTTP/2: requests by turns on so many connections. */
export function createAccountedHttp2Client(daemon: Daemon, connections: number): AccountedClient {
  const sessions = Array.from({ length: connections }, () =>
    connectHttp2(daemon.origin, { rejectUnauthorized: false }).on('error', () => {}),
  );
  return {
    send: (method, path = '/') =>
      new Promise((resolve) => {
        const id = `r${process.pid}-${ids++}`;
        let [status, ended, reason] = [0, false, 'no answer'];
        const settle = (): void => {
          const whole = ended && status !== 0;
          resolve({ id, method, status: whole ? status : 0, error: whole ? null : reason });
        };
        const session = sessions[ids % sessions.length];
        if (session === undefined || session.destroyed) return settle();
        const stream = session.request({ ':method': method, ':path': path, 'x-id': id });
        stream.on('response', (fields) => (status = fields[':status'] ?? 0));
        stream.on('end', () => (ended = stream.rstCode === 0));
        stream.on('error', (error: Error) => (reason = error.message)).on('close', settle);
        stream.resume().end(method === 'POST' ? 'x' : undefined);
      }),
    [Symbol.dispose]: () => sessions.forEach((session) => session.destroy()),
  };
}

/** Sends requests over `connections` keep-alive connections until `signal` aborts; every id is its own. */
export async function sendAccounted(
  daemon: Daemon,
  {
    methods,
    connections,
    signal,
    path = '/',
    sessions = 0,
  }: {
    readonly methods: readonly string[];
    readonly connections: number;
    readonly signal: AbortSignal;
    readonly path?: string;
    /** Every fifth goes over HTTP/2, on so many connections. */
    readonly sessions?: number;
  },
): Promise<Account> {
  using http1 = createAccountedClient(daemon, connections);
  using http2 = sessions === 0 ? null : createAccountedHttp2Client(daemon, sessions);
  const answers: Answered[] = [];
  await Promise.all(
    Array.from({ length: connections }, async (_, lane) => {
      const client = http2 !== null && lane % 5 === 4 ? http2 : http1;
      for (let turn = 0; !signal.aborted; turn++) {
        const answer = await client.send(methods[(lane + turn) % methods.length] ?? 'GET', path);
        answers.push(answer);
        // What fails at once must not be tried a million times.
        if (answer.status === 0) await sleep(50);
      }
    }),
  );
  return { answers, executions: readExecutions(daemon) };
}

/** All of `count` requests in bursts, one on each connection, with a pause of a random length before the next. */
export async function sendInBursts(
  daemon: Daemon,
  {
    count,
    methods,
    connections,
    pauseMs: [least, most],
  }: {
    readonly count: number;
    readonly methods: readonly string[];
    readonly connections: number;
    readonly pauseMs: readonly [least: number, most: number];
  },
): Promise<Account> {
  using client = createAccountedClient(daemon, connections);
  const answers: Answered[] = [];
  while (answers.length < count) {
    const burst = Array.from({ length: Math.min(connections, count - answers.length) }, (_, i) =>
      client.send(methods[i % methods.length] ?? 'GET'),
    );
    answers.push(...(await Promise.all(burst)));
    await sleep(least + Math.random() * (most - least));
  }
  return { answers, executions: readExecutions(daemon) };
}

/** What of an account must be nothing: each line says of an id what is wrong with it. */
export function faultsOf({ answers, executions }: Account): string[] {
  const faults: string[] = [];
  for (const { id, method, status, error } of answers) {
    const times = executions.get(id) ?? 0;
    if (method === 'GET' && status !== 200) faults.push(`GET ${id} failed: ${error ?? status}`);
    if (method === 'POST' && status !== 200 && status !== 502) faults.push(`POST ${id} failed: ${error ?? status}`);
    if (times > (method === 'POST' ? 1 : 2)) faults.push(`${method} ${id} was executed ${times} times`);
    if (status === 200 && times === 0) faults.push(`${method} ${id} was answered and not executed`);
  }
  const sent = new Set(answers.map(({ id }) => id));
  for (const id of executions.keys()) if (!sent.has(id)) faults.push(`${id} was executed and never sent`);
  return faults;
}

export function readExecutions(daemon: Daemon): Map<string, number> {
  const executions = new Map<string, number>();
  let text = '';
  try {
    text = readFileSync(`${daemon.folder}/shared/executed`, 'utf8');
  } catch {
    // Nothing was executed yet.
  }
  for (const line of text.split('\n')) {
    const [id] = line.split(' ');
    if (id !== undefined && id !== '') executions.set(id, (executions.get(id) ?? 0) + 1);
  }
  return executions;
}

export interface WrkResult {
  readonly requests: number;
  /** Answers that are not 2xx or 3xx. */
  readonly bad: number;
  readonly socketErrors: number;
  readonly text: string;
}

export async function wrk(daemon: Daemon, seconds: number, connections = 32): Promise<WrkResult> {
  const args = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, `${daemon.origin}/`];
  const { stdout, code } = await run('wrk', args);
  if (code !== 0) throw new Error(`wrk failed: ${stdout}`);
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? 0);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout);
  return {
    requests: number(/(\d+) requests in/),
    bad: number(/Non-2xx or 3xx responses: (\d+)/),
    socketErrors: errors === null ? 0 : errors.slice(1).reduce((sum, text) => sum + Number(text), 0),
    text: stdout,
  };
}
