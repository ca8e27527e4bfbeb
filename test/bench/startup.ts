/** How long what is shipped takes from nothing: to its first word, and to its first answer over HTTPS from a worker it launched. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { sleep } from '../../src/lifecycle.ts';
import type { Contender, ContenderKind } from './contenders/contender.ts';
import { pinned } from './machine.ts';
import { buildInto } from '../support/bare_root.ts';
import { FIXTURES, freePort, writeConfig } from '../support/daemon.ts';
import { run } from '../support/processes.ts';

/** As often as it is asked whether it is there. */
const ASK_EVERY_MS = 2;
const PATIENCE_MS = 20_000;

export const STARTUP_UNITS = ['ms to --help', 'ms to the first 200', 'ms of a worker alone'];

type Measure = (contender: Contender) => Promise<{ readonly values: readonly number[]; readonly answers: number }>;

interface Installed {
  readonly stage: { readonly folder: string; readonly core: string; readonly tls: { readonly certificate: string } };
  readonly file: string;
}

/** The shipped programs, and what a turn of one is. Each is built once, by `prepare`. */
export function createStartup(): {
  readonly kinds: readonly ContenderKind[];
  readonly prepare: (tools: { readonly folder: string }) => Promise<Measure>;
} {
  const installed = new Map<string, Installed>();
  const kinds = ['executable', 'bundle'].map((name): ContenderKind => {
    return {
      name,
      version: () => 'as npm run build makes it',
      start: async (stage): Promise<Contender> => {
        const ports = { http: await freePort(), https: await freePort() };
        const config = `logging: { format: json, access: false }
sites: [{ hosts: [localhost], tls: { certificate: ${stage.tls.certificate}, key: ${stage.tls.key} }, service: web }]
services:
  web: { command: [${process.execPath}, bench_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 1 }
`;
        installed.set(name, { stage, file: writeConfig(stage.folder, ports, config, '', '', '127.0.0.1') });
        return {
          name,
          port: ports.https,
          origin: `https://localhost:${ports.https}`,
          accessLog: null,
          workers: [],
          pids: () => Promise.resolve([]),
          [Symbol.asyncDispose]: () => Promise.resolve(),
        };
      },
    };
  });
  const prepare = async ({ folder }: { readonly folder: string }): Promise<Measure> => {
    const dist = await buildInto(folder);
    const programs: Readonly<Record<string, readonly string[]>> = {
      executable: [path.join(dist, 'proxy')],
      bundle: [process.execPath, path.join(dist, 'proxy.cjs')],
    };
    return async ({ name, port }) => {
      const of = installed.get(name);
      const program = programs[name];
      assert.ok(of !== undefined && program !== undefined);
      const values = [await firstWord(program), await firstAnswer(program, of, port), await workerAlone(of)];
      return { values, answers: 0 };
    };
  };
  return { kinds, prepare };
}

async function firstWord(program: readonly string[]): Promise<number> {
  const [command = '', ...args] = program;
  const begun = performance.now();
  const { code } = await run(command, [...args, '--help'], { env: process.env });
  assert.equal(code, 0);
  return performance.now() - begun;
}

async function firstAnswer(program: readonly string[], { stage, file }: Installed, port: number): Promise<number> {
  const ca = readFileSync(stage.tls.certificate);
  return timeUntil([...pinned(stage.core), ...program, 'run', '-c', file], FIXTURES, async () => {
    const request = https.get({
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      headers: { host: 'localhost' },
      ca,
      agent: false,
    });
    const [response] = await once(request, 'response');
    assert.equal(response.statusCode, 200);
    response.resume();
  });
}

async function workerAlone({ stage }: Installed): Promise<number> {
  const socket = path.join(stage.folder, 'alone.sock');
  return timeUntil([...pinned(stage.core), process.execPath, 'bench_worker.mjs', socket], FIXTURES, async () => {
    await once(net.connect(socket), 'connect');
  });
}

/** Milliseconds from the start of a program until `done()` does not throw; then it is ended. */
async function timeUntil(words: readonly string[], cwd: string, done: () => Promise<void>): Promise<number> {
  const [command = '', ...args] = words;
  const begun = performance.now();
  const child: ChildProcess = spawn(command, args, { cwd, stdio: 'ignore' });
  const exited = once(child, 'exit');
  try {
    for (;;) {
      try {
        await done();
        return performance.now() - begun;
      } catch (error) {
        if (performance.now() - begun > PATIENCE_MS || child.exitCode !== null) throw error;
      }
      await sleep(ASK_EVERY_MS);
    }
  } finally {
    child.kill('SIGTERM');
    await exited;
  }
}
