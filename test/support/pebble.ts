/** A real ACME CA on loopback: Debian's pebble and its DNS, with ports and a folder of their own. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Agent, request } from 'undici';
import { createDnsControl } from './challtestsrv.ts';
import type { DnsControl } from './challtestsrv.ts';
import { freePort } from './daemon.ts';
import { eventually } from './eventually.ts';
import { openInternalCa, ROOT_FILE } from '../../src/certificates/internal_ca.ts';
import { createFileStorage } from '../../src/certificates/storage/file_storage.ts';

export interface Pebble extends AsyncDisposable {
  readonly directoryUrl: string;
  /** PEM file: who vouches for the directory's own https. */
  readonly trustedRoot: string;
  /** What it is told when it looks names up; all of them are 127.0.0.1 otherwise. */
  readonly dns: DnsControl;
  /** PEM of the root its certificates end in; a new one at every start. */
  issuerRoot(): Promise<string>;
  /** Everything it said so far. */
  log(): string;
  /** How many orders it was asked for. */
  orders(): number;
  /** How many certificates it issued. */
  issued(): number;
  /** How many accounts it made. */
  accounts(): number;
  /** Origin of its management: `/roots/N`, `/cert-status-by-serial/HEX`; asked with `trustedRoot`. */
  readonly management: string;
  /** GET, over https trusted by `trustedRoot`. */
  get(url: string): Promise<string>;
}

export interface PebbleOptions {
  /** Where http-01 is asked. */
  readonly httpPort: number;
  /** Where tls-alpn-01 is asked; without: where nobody listens. */
  readonly tlsPort?: number;
  /** `address:port` it asks instead of its own name server. */
  readonly nameServer?: string;
  readonly domainBlocklist?: readonly string[];
  /** Of its certificates, in seconds. */
  readonly lifetime?: number;
  /** MAC keys (base64url) by key id: accounts must be bound to one. */
  readonly externalAccounts?: Readonly<Record<string, string>>;
  /** `PEBBLE_…` */
  readonly env?: Readonly<Record<string, string>>;
}

export async function startPebble({
  httpPort,
  nameServer,
  domainBlocklist = [],
  lifetime = 90 * 86_400,
  tlsPort,
  externalAccounts,
  env = {},
}: PebbleOptions): Promise<Pebble> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-pebble-'));
  const storage = createFileStorage(folder);
  const listener = (await openInternalCa(storage, Date.now())).issue(['localhost', '127.0.0.1'], Date.now());
  writeFileSync(path.join(folder, 'chain.pem'), listener.chain);
  writeFileSync(path.join(folder, 'key.pem'), listener.key);
  const [port, management, dns, dnsManagement, noPort] = await Promise.all([1, 2, 3, 4, 5].map(() => freePort()));
  const config = {
    pebble: {
      listenAddress: `127.0.0.1:${port}`,
      managementListenAddress: `127.0.0.1:${management}`,
      certificate: path.join(folder, 'chain.pem'),
      privateKey: path.join(folder, 'key.pem'),
      httpPort,
      tlsPort: tlsPort ?? noPort,
      ocspResponderURL: '',
      externalAccountBindingRequired: externalAccounts !== undefined,
      externalAccountMACKeys: externalAccounts ?? {},
      domainBlocklist,
      certificateValidityPeriod: lifetime,
    },
  };
  writeFileSync(path.join(folder, 'pebble.json'), JSON.stringify(config));
  let log = '';
  const start = (command: string, args: readonly string[]): ChildProcess => {
    // They end with the test, however that ends.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], {
      env: { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_AUTHZREUSE: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (log += text));
    }
    return child;
  };
  const children = [
    start('pebble-challtestsrv', [
      '-defaultIPv4=127.0.0.1',
      '-defaultIPv6=',
      `-dns01=127.0.0.1:${dns}`,
      `-management=127.0.0.1:${dnsManagement}`,
      '-http01=',
      '-https01=',
      '-tlsalpn01=',
    ]),
    start('pebble', ['-config', path.join(folder, 'pebble.json'), '-dnsserver', nameServer ?? `127.0.0.1:${dns}`]),
  ];
  const trustedRoot = path.join(folder, ROOT_FILE);
  const agent = new Agent({ connect: { ca: readFileSync(trustedRoot, 'utf8') } });
  const get = async (url: string): Promise<string> => {
    const response = await request(url, { dispatcher: agent });
    const text = await response.body.text();
    if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`);
    return text;
  };
  const directoryUrl = `https://localhost:${port}/dir`;
  const stop = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL');
    await agent.destroy();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    // It makes keys first, of RSA: one for each CA of its chains.
    await eventually(() => get(directoryUrl), { withinMs: 60_000 });
  } catch (error) {
    await stop();
    throw new Error(`pebble did not start: ${log}`, { cause: error });
  }
  return {
    directoryUrl,
    trustedRoot,
    dns: createDnsControl(`127.0.0.1:${dns}`, `http://127.0.0.1:${dnsManagement}`),
    issuerRoot: () => get(`https://localhost:${management}/roots/0`),
    log: () => log,
    orders: () => log.match(/Added order /g)?.length ?? 0,
    issued: () => log.match(/Issued certificate serial/g)?.length ?? 0,
    accounts: () => log.match(/There are now \d+ accounts/g)?.length ?? 0,
    management: `https://localhost:${management}`,
    get,
    [Symbol.asyncDispose]: stop,
  };
}
