/** Directories of several CAs, all with one Pebble behind them: each says something else of itself. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Agent, request } from 'undici';
import type { Pebble } from './pebble.ts';
import { createSelfSigned } from './self_signed.ts';

export interface CaFront extends AsyncDisposable {
  /** PEM file. */
  readonly trustedRoot: string;
  directoryUrl(name: string): string;
  /** How often a directory was asked for. */
  requests(name: string): number;
}

export interface Said {
  /** Into `meta`. */
  readonly meta?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the directory. */
  readonly body?: string;
  /** Instead of Pebble's. */
  readonly urls?: (origin: string) => Readonly<Record<string, string>>;
}

/** `directories` by name; any other path is never answered. */
export async function startCaFront(pebble: Pebble, directories: Readonly<Record<string, Said>>): Promise<CaFront> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-ca-front-'));
  const { key, certificate } = await createSelfSigned(folder, 'localhost');
  const agent = new Agent({ connect: { ca: readFileSync(pebble.trustedRoot, 'utf8') } });
  const behind = await (await request(pebble.directoryUrl, { dispatcher: agent })).body.json();
  await agent.destroy();
  const counts = new Map<string, number>();
  let origin = '';
  const server = https.createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (asked, answer) => {
    const name = (asked.url ?? '').slice(1);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    const said = directories[name];
    if (said === undefined) return;
    const { meta: itsOwn, ...urls } = behind as Record<string, unknown>;
    const directory = { ...urls, ...said.urls?.(origin), meta: { ...(itsOwn as object), ...said.meta } };
    answer.writeHead(200, { 'content-type': 'application/json', ...said.headers });
    answer.end(said.body ?? JSON.stringify(directory));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `https://localhost:${(server.address() as AddressInfo).port}`;
  return {
    trustedRoot: certificate,
    directoryUrl: (name) => `${origin}/${name}`,
    requests: (name) => counts.get(name) ?? 0,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
