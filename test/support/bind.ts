/** A real name server on loopback, Debian's bind9: primary of the zones a test wants, on a port of its own. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from './daemon.ts';
import { eventually } from './eventually.ts';
import { run } from './processes.ts';
import type { TsigKey } from '../../src/certificates/solvers/dns_message.ts';

export interface Bind extends AsyncDisposable {
  readonly port: number;
  /** `address:port` */
  readonly address: string;
  /** May change all zones but those of `closed`. */
  readonly key: TsigKey;
  /** What it says to a question: values alone, one each. */
  dig(name: string, type: string): Promise<readonly string[]>;
  log(): string;
  stop(): Promise<void>;
}

export interface BindOptions {
  /** By zone: further lines of its file. */
  readonly zones: Readonly<Record<string, string>>;
  /** Zones the key may not change. */
  readonly closed?: readonly string[];
  readonly algorithm?: TsigKey['algorithm'];
  /** Whether changes need no key. */
  readonly open?: boolean;
  /** Whether it follows names from one of its zones into another, as resolvers do; it knows no others. */
  readonly recursion?: boolean;
}

export async function startBind({
  zones,
  closed = [],
  algorithm = 'hmac-sha256',
  open = false,
  recursion = false,
}: BindOptions): Promise<Bind> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-bind-'));
  const port = await freePort();
  const key: TsigKey = { name: 'test-key', algorithm, secret: randomBytes(32).toString('base64') };
  const sections = Object.entries(zones).map(([zone, lines]) => {
    writeFileSync(
      path.join(folder, zone),
      `$TTL 1
@ IN SOA ns1.${zone}. root.${zone}. 1 60 60 60 1
@ IN NS ns1.${zone}.
ns1 IN A 127.0.0.1
${lines}
`,
    );
    const allowed = closed.includes(zone) ? 'none' : open ? 'any' : `key ${key.name}`;
    return `zone "${zone}" { type primary; file "${zone}"; allow-update { ${allowed}; }; };`;
  });
  if (recursion) {
    // Its own root: nothing is asked of the world.
    writeFileSync(path.join(folder, 'root'), '$TTL 1\n@ IN SOA . . 1 60 60 60 1\n@ IN NS localhost.\n');
    sections.push('zone "." { type primary; file "root"; };');
  }
  writeFileSync(
    path.join(folder, 'named.conf'),
    `options {
  directory "${folder}"; pid-file none; session-keyfile none; managed-keys-directory "${folder}";
  listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };
  recursion ${recursion ? 'yes' : 'no'}; dnssec-validation no; notify no; empty-zones-enable no;
};
controls {};
key "${key.name}" { algorithm ${algorithm}; secret "${key.secret}"; };
${sections.join('\n')}
`,
  );
  let log = '';
  const args = ['--pdeathsig', 'KILL', '--', 'named', '-g', '-n', '1', '-c', path.join(folder, 'named.conf')];
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` };
  const child = spawn('setpriv', args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = new Promise((resolve) => child.once('close', resolve));
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  const dig = async (name: string, type: string): Promise<readonly string[]> => {
    const { stdout } = await run('dig', [
      '@127.0.0.1',
      '-p',
      String(port),
      '+short',
      '+tries=1',
      '+time=2',
      name,
      type,
    ]);
    return stdout.split('\n').flatMap((line) => (line === '' ? [] : line.replace(/^"|"$/g, '')));
  };
  try {
    await eventually(async () => (await dig(Object.keys(zones)[0] ?? '', 'NS'))[0]?.startsWith('ns1.'));
  } catch (error) {
    await stop();
    throw new Error(`named did not start: ${log}`, { cause: error });
  }
  return { port, address: `127.0.0.1:${port}`, key, dig, log: () => log, stop, [Symbol.asyncDispose]: stop };
}
