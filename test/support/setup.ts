/** What the tests need beside npm's packages: installed where we may, else named exactly. */
import { spawnSync } from 'node:child_process';

interface Need {
  readonly package: string;
  /** Succeeds when it is there. */
  readonly check: readonly [string, ...string[]];
}

const NEEDS: readonly Need[] = [
  { package: 'curl', check: ['which', 'curl'] },
  { package: 'openssl', check: ['which', 'openssl'] },
  { package: 'chromium', check: ['which', 'chromium'] },
  { package: 'sslscan', check: ['which', 'sslscan'] },
  { package: 'wrk', check: ['which', 'wrk'] },
  { package: 'nghttp2-client', check: ['which', 'h2load'] },
  { package: 'pebble', check: ['which', 'pebble', 'pebble-challtestsrv'] },
  { package: 'prometheus', check: ['which', 'promtool'] },
  { package: 'bind9', check: ['/usr/sbin/named', '-v'] },
  { package: 'bind9-dnsutils', check: ['which', 'dig'] },
  { package: 'uvicorn', check: ['which', 'uvicorn'] },
  { package: 'gunicorn', check: ['/usr/bin/python3', '-c', 'import gunicorn'] },
  { package: 'python3-fastapi', check: ['/usr/bin/python3', '-c', 'import fastapi'] },
  { package: 'iproute2', check: ['which', 'ip', 'ss'] },
  { package: 'systemd', check: ['which', 'systemd-analyze', 'systemd-notify', 'systemd-socket-activate'] },
  { package: 'docker-compose', check: ['which', 'docker-compose'] },
  { package: 'supervisor', check: ['which', 'supervisord'] },
  { package: 'python3-multipart', check: ['/usr/bin/python3', '-c', 'import multipart'] },
];
/** What the bench needs, and whom it compares with: it does without those that are missing. */
const BENCH_TOOLS = NEEDS.filter((need) => ['curl', 'openssl', 'wrk', 'nghttp2-client'].includes(need.package));
const BENCH_PEERS: readonly Need[] = [
  { package: 'nginx-light', check: ['which', 'nginx'] },
  { package: 'haproxy', check: ['which', 'haproxy'] },
  { package: 'caddy', check: ['which', 'caddy'] },
];

/** What only proofs need. */
const PROVE_NEEDS: readonly Need[] = [
  { package: 'testssl.sh', check: ['which', 'testssl'] },
  { package: 'debootstrap', check: ['which', 'debootstrap'] },
  { package: 'buildah', check: ['which', 'buildah'] },
  { package: 'tini', check: ['which', 'tini'] },
  { package: 'slowhttptest', check: ['which', 'slowhttptest'] },
  { package: 'nginx-light', check: ['which', 'nginx'] },
];

const bench = process.argv.includes('--bench');
const needs = bench ? BENCH_TOOLS : process.argv.includes('--prove') ? [...NEEDS, ...PROVE_NEEDS] : NEEDS;
const isMissing = ({ check: [command, ...args] }: Need): boolean => spawnSync(command, args).status !== 0;
const missing = [...needs, ...(bench ? BENCH_PEERS : [])].filter(isMissing);
if (missing.length > 0) {
  const status = install(missing.map((need) => need.package));
  process.exitCode = needs.some(isMissing) ? status : 0;
}

function install(packages: readonly string[]): number {
  const line = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  const apt = spawnSync('apt-get', ['--version']).status === 0;
  if (process.getuid?.() !== 0 || !apt) {
    process.stderr.write(`The tests need some programs that are missing here. On Debian, as root:\n\n  ${line}\n\n`);
    return 1;
  }
  process.stderr.write(`installing what the tests need: ${packages.join(' ')}\n`);
  // Services that packages bring along must not start: tests run their own, on ports of their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1', SYSTEMD_OFFLINE: '1' };
  const run = (command: string): boolean => spawnSync('sh', ['-c', command], { env, stdio: 'inherit' }).status === 0;
  return run(`${line} || (apt-get update && ${line})`) ? 0 : 1;
}
