/** Requests in numbers, each accounted for: sent, executed by a worker, answered. */
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

let ids = 0;

/** Sends requests over `connections` keep-alive connections until `signal` aborts; every id is its own. */
export async function sendAccounted(
  daemon: Daemon,
  {
    methods,
    connections,
    signal,
    path = '/',
  }: {
    readonly methods: readonly string[];
    readonly connections: number;
    readonly signal: AbortSignal;
    readonly path?: string;
  },
): Promise<Account> {
  const agent = new https.Agent({ keepAlive: true, maxSockets: connections, rejectUnauthorized: false });
  const answers: Answered[] = [];
  const one = (method: string): Promise<Answered> =>
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
    });
  await Promise.all(
    Array.from({ length: connections }, async (_, lane) => {
      for (let turn = 0; !signal.aborted; turn++) {
        const answer = await one(methods[(lane + turn) % methods.length] ?? 'GET');
        answers.push(answer);
        // What fails at once must not be tried a million times.
        if (answer.status === 0) await sleep(50);
      }
    }),
  );
  agent.destroy();
  return { answers, executions: readExecutions(daemon) };
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
