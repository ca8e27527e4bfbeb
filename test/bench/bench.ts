/**
 * What a request costs: CPU time of everything between client and worker, ours beside nginx, in turns within one run, so
 * that both have the same machine. Ratios travel between machines; microseconds do not.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { formatTable } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { FIXTURES, freePort, startDaemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { run } from '../support/processes.ts';

const ROUNDS = Number(process.env['ROUNDS'] ?? 5);
const SECONDS = Number(process.env['SECONDS_EACH'] ?? 4);
const CONNECTIONS = 32;
const DOWNLOAD = 64 * 1024 * 1024;
const TICKS_PER_SECOND = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout);

interface Contender extends AsyncDisposable {
  readonly name: string;
  readonly origin: string;
  /** The processes whose time is counted. */
  pids(): Promise<readonly number[]>;
}

/** CPU seconds a set of processes has used so far. */
function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }, 0);
}

async function ours(access: boolean): Promise<Contender & { readonly sockets: string; readonly certificate: string }> {
  const daemon = await startDaemon({
    config: `proxy_processes: 1
logging: { access: ${access} }
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: [node, bench_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 1 }
`,
  });
  // All but the worker itself: the control plane writes the log.
  const pids = async (): Promise<number[]> => [
    daemon.pid,
    ...(await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []),
  ];
  return {
    name: 'proxy',
    origin: daemon.origin,
    pids,
    sockets: path.join(daemon.folder, 'run/services/web'),
    certificate: path.join(daemon.folder, 'state/certificates/internal/localhost/current'),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

async function nginx(folder: string, sockets: string, certificate: string, access: boolean): Promise<Contender> {
  const port = await freePort();
  const [socket] = readdirSync(sockets).filter((name) => name.endsWith('.sock'));
  const file = path.join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log; user root;
events { worker_connections 1024; }
http {
  access_log ${access ? `${folder}/access.log combined buffer=64k flush=1s` : 'off'};
  client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  upstream web { server unix:${sockets}/${socket}; keepalive 64; }
  server {
    listen 127.0.0.1:${port} ssl reuseport; keepalive_requests 1000000000;
    ssl_certificate ${certificate}/chain.pem; ssl_certificate_key ${certificate}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-Id $request_id; proxy_max_temp_file_size 0;
    }
  }
}
`,
  );
  const child = spawn('nginx', ['-c', file, '-e', `${folder}/error.log`], { stdio: 'inherit' });
  const worker = await eventually(() => {
    const [pid] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1').trim().split(' ');
    return pid === '' ? undefined : Number(pid);
  });
  const origin = `https://localhost:${port}`;
  await eventually(async () => (await run('curl', ['-sk', `${origin}/`])).code === 0);
  return {
    name: 'nginx',
    origin,
    pids: () => Promise.resolve([worker]),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      await eventually(() => child.exitCode !== null || child.signalCode !== null);
    },
  };
}

type Measure = (contender: Contender) => Promise<number>;

/** Microseconds of CPU per small JSON answer over TLS keep-alive. */
const small: Measure = async (contender) => {
  const pids = await contender.pids();
  const before = cpuSeconds(pids);
  const { stdout } = await run('wrk', ['-t1', `-c${CONNECTIONS}`, `-d${SECONDS}s`, `${contender.origin}/`]);
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1]);
  if (!(requests > 0) || /Non-2xx|Socket errors/.test(stdout)) throw new Error(`${contender.name}: ${stdout}`);
  return ((cpuSeconds(pids) - before) / requests) * 1e6;
};

/** Milliseconds of CPU for a download of 64 MiB. */
const download: Measure = async (contender) => {
  const pids = await contender.pids();
  const before = cpuSeconds(pids);
  const times = 4;
  for (let i = 0; i < times; i++) {
    const target = `${contender.origin}/bytes?size=${DOWNLOAD}`;
    const { stdout } = await run('curl', ['-sk', '-o', '/dev/null', '-w', '%{size_download}', target]);
    if (Number(stdout) !== DOWNLOAD) throw new Error(`${contender.name}: ${stdout} bytes`);
  }
  return ((cpuSeconds(pids) - before) / times) * 1e3;
};

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function compare(title: string, unit: string, access: boolean, measure: Measure): Promise<string[]> {
  const folder = path.join(os.tmpdir(), `proxy-bench-${process.pid}-${title.replaceAll(/\W/g, '')}`);
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  await using proxy = await ours(access);
  await using peer = await nginx(folder, proxy.sockets, proxy.certificate, access);
  const results = { proxy: [] as number[], nginx: [] as number[] };
  // Not counted: code is compiled, connections to the worker are opened.
  for (const contender of [proxy, peer]) await measure(contender);
  for (let round = 0; round < ROUNDS; round++) {
    results.proxy.push(await measure(proxy));
    results.nginx.push(await measure(peer));
    await sleep(100);
  }
  const show = (values: readonly number[]): string =>
    `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)}–${Math.max(...values).toFixed(1)})`;
  const ratio = median(results.proxy.map((value, i) => value / (results.nginx[i] ?? Number.NaN)));
  return [title, unit, show(results.proxy), show(results.nginx), ratio.toFixed(2)];
}

const version = spawnSync('nginx', ['-v'], { encoding: 'utf8' }).stderr.trim();
process.stdout.write(
  `${version}, node ${process.version}, ${os.cpus().length} × ${os.cpus()[0]?.model}, ${ROUNDS} rounds\n`,
);
const only = process.argv[2];
const rows: string[][] = [['', 'UNIT', 'PROXY median (range)', 'NGINX median (range)', 'RATIO']];
for (const [title, unit, access, measure] of [
  ['small JSON over TLS', 'µs CPU/request', false, small],
  ['the same with access log', 'µs CPU/request', true, small],
  ['64 MiB download', 'ms CPU', false, download],
] as const) {
  if (only === undefined || title.includes(only)) rows.push(await compare(title, unit, access, measure));
}
process.stdout.write(`${formatTable(rows)}\n`);
process.exit(0);
