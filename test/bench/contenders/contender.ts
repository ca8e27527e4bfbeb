/** What stands between the load and the workers, one of several that do the same work. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { pinned } from '../machine.ts';

export interface Stage {
  /** Of this contender alone. */
  readonly folder: string;
  readonly core: string;
  /** Of workers it launches itself, as `taskset -c` takes them. */
  readonly workerCores: string;
  /** PEM files of an ECDSA P-256 certificate for localhost; `both` in one. */
  readonly tls: { readonly certificate: string; readonly key: string; readonly both: string };
  /** Whom to balance over, by least connections: `unix:PATH` or `HOST:PORT`. */
  readonly workers: readonly string[];
  readonly accessLog: boolean;
}

export interface Contender extends AsyncDisposable {
  readonly name: string;
  readonly port: number;
  /** `https://localhost:PORT`; it listens on 127.0.0.1 alone. */
  readonly origin: string;
  /** The file it appends a line to for each request. */
  readonly accessLog: string | null;
  /** The workers behind it. */
  readonly workers: readonly string[];
  /** Its own processes, those of workers left out. */
  pids(): Promise<readonly number[]>;
}

export interface ContenderKind {
  readonly name: string;
  /** What it says of itself; null where it is not installed. */
  version(): string | null;
  /** Resolves when it listens, before it has served anything. */
  start(stage: Stage): Promise<Contender>;
}

export interface Peer {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly port: number;
  readonly accessLog: string;
  /** How many processes it is made of. */
  readonly processes: number;
  pids(root: number): readonly number[];
}

/** Runs somebody else's proxy; its stdout goes to `stdout.log` and its complaints to `stderr.log` in its folder. */
export async function startPeer(peer: Peer, stage: Stage): Promise<Contender> {
  const [command = '', ...args] = [...pinned(stage.core), ...peer.command];
  const outputs = ['stdout.log', 'stderr.log'].map((file) => openSync(path.join(stage.folder, file), 'a'));
  const child = spawn(command, args, {
    env: { ...process.env, ...peer.env },
    stdio: ['ignore', ...outputs],
  });
  for (const fd of outputs) closeSync(fd);
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const pids = (): readonly number[] => peer.pids(child.pid ?? 0);
  const ended = exited.then(() => {
    throw new Error(`${peer.name} ended: ${readFileSync(path.join(stage.folder, 'stderr.log'), 'utf8')}`);
  });
  ended.catch(() => {});
  await Promise.race([
    eventually(async () => (await accepts(peer.port)) && pids().length === peer.processes, { withinMs: 5_000 }),
    ended,
  ]);
  return {
    name: peer.name,
    port: peer.port,
    origin: `https://localhost:${peer.port}`,
    accessLog: stage.accessLog ? peer.accessLog : null,
    workers: stage.workers,
    pids: () => Promise.resolve(pids()),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 1_000);
      await exited;
      clearTimeout(late);
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
  });
}
