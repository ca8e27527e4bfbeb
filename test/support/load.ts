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
  /** When it was sent, by `performance.now()`, and how long its whole answer took. */
  readonly startedAt: number;
  readonly tookMs: number;
  /** What the worker that answered calls itself (X-Worker); null: it says nothing, or none answered. */
  readonly worker: string | null;
  readonly retryAfter: string | null;
}

/** Who is sent requests, and where its workers tell what they executed. */
export type Served = Pick<Daemon, 'origin' | 'folder'>;

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
export function createAccountedClient({ origin }: Served, connections: number): AccountedClient {
  const agent = new https.Agent({ keepAlive: true, maxSockets: connections, rejectUnauthorized: false });
  return {
    send: (method, path = '/') =>
      new Promise((resolve) => {
        const { id, settle } = beginRequest(method, resolve);
        const body = method === 'POST' ? 'x' : undefined;
        const request = https.request(
          `${origin}${path}`,
          { agent, method, headers: { 'x-id': id, ...(body === undefined ? {} : { 'content-length': 1 }) } },
          (response) => {
            response.resume();
            response.on('end', () => settle(response.statusCode ?? 0, response.headers, null));
            response.on('error', (error) => settle(0, {}, error.message));
          },
        );
        request.on('error', (error) => settle(0, {}, error.message));
        request.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** The same over HTTP/2: requests by turns on so many connections. */
export function createAccountedHttp2Client({ origin }: Served, connections: number): AccountedClient {
  const sessions = Array.from({ length: connections }, () =>
    connectHttp2(origin, { rejectUnauthorized: false }).on('error', () => {}),
  );
  return {
    send: (method, path = '/') =>
      new Promise((resolve) => {
        const { id, settle } = beginRequest(method, resolve);
        let [status, ended, reason] = [0, false, 'no answer'];
        let fields: Fields = {};
        const close = (): void => {
          const whole = ended && status !== 0;
          settle(whole ? status : 0, fields, whole ? null : reason);
        };
        const session = sessions[ids % sessions.length];
        if (session === undefined || session.destroyed) return close();
        const stream = session.request({ ':method': method, ':path': path, 'x-id': id });
        stream.on('response', (head) => {
          status = head[':status'] ?? 0;
          fields = head;
        });
        stream.on('end', () => (ended = stream.rstCode === 0));
        stream.on('error', (error: Error) => (reason = error.message)).on('close', close);
        stream.resume().end(method === 'POST' ? 'x' : undefined);
      }),
    [Symbol.dispose]: () => sessions.forEach((session) => session.destroy()),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function beginRequest(method: string, resolve: (answer: Answered) => void) {
  const id = `r${process.pid}-${ids++}`;
  const startedAt = performance.now();
  return {
    id,
    settle: (status: number, fields: Fields, error: string | null): void => {
      const field = (name: string): string | null => (typeof fields[name] === 'string' ? fields[name] : null);
      const tookMs = performance.now() - startedAt;
      const told = { worker: field('x-worker'), retryAfter: field('retry-after') };
      resolve({ id, method, status, error, startedAt, tookMs, ...told });
    },
  };
}

/** Sends requests over `connections` keep-alive connections until `signal` aborts; every id is its own. */
export async function sendAccounted(
  daemon: Served,
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
  daemon: Served,
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

export function readExecutions(daemon: Served): Map<string, number> {
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
