/** Answers of this daemon's own orders: every one of its proxies has them before the CA is told to look. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import { createAnswerBoard } from '../src/certificates/solvers/answer_board.ts';
import { createHttp01 } from '../src/certificates/solvers/http01.ts';
import type { Challenge, Solver } from '../src/certificates/solvers/solver.ts';
import { createTlsAlpn01 } from '../src/certificates/solvers/tls_alpn01.ts';
import { createMemoryStorage } from '../src/certificates/storage/memory_storage.ts';
import { loadConfig } from '../src/config/load.ts';
import { bindListeners } from '../src/control/listeners.ts';
import { limitsPart, sitesPart } from '../src/control/parts.ts';
import { createProxyPool } from '../src/control/proxies.ts';
import { silentLogger } from '../src/log.ts';
import { orderBy } from './support/acme_order.ts';
import { freePort, ROOT, temporaryFolder, writeConfig } from './support/daemon.ts';
import type { Ports } from './support/daemon.ts';
import { startPebble } from './support/pebble.ts';

const CONFIG = `proxy_processes: 3
sites: [{ hosts: [app.example.com], service: web, tls: internal }]
services: { web: { upstreams: ["http://127.0.0.1:9"] } }`;

/** Three proxies with nothing behind them, and solvers whose answers they alone have. */
async function startProxies(
  ports: Ports,
): Promise<AsyncDisposable & { readonly http01: Solver; readonly tlsAlpn01: Solver; wanted(): number }> {
  const folder = temporaryFolder();
  const loaded = loadConfig({ file: writeConfig(folder, ports, CONFIG), env: {} });
  assert.ok(loaded.ok);
  const { config } = loaded;
  const listeners = await bindListeners(config.entrypoints, config.proxyProcesses);
  let wanted = 0;
  const pool = createProxyPool({
    count: config.proxyProcesses,
    command: [process.execPath, path.join(ROOT, 'src/main.ts')],
    env: {},
    identity: null,
    log: silentLogger,
    tracing: null,
    proxyLog: { level: 'info', format: 'json' },
    writeLines: () => {},
    guard: { add: () => {}, remove: () => {} },
    outOfMemory: () => false,
    onTargetFailed: () => {},
    lost: { report: () => {}, proxyGone: () => {} },
    findChallenge: () => {
      wanted++;
      return Promise.resolve(null);
    },
  });
  pool.setListeners(listeners);
  void pool.publish('limits', limitsPart(config, Infinity));
  void pool.publish('sites', sitesPart(config));
  await pool.start();
  const options = {
    board: createAnswerBoard((part) => pool.publish('challenges', part)),
    storage: createMemoryStorage(),
    log: silentLogger,
  };
  return {
    http01: createHttp01(options),
    tlsAlpn01: createTlsAlpn01(options),
    wanted: () => wanted,
    [Symbol.asyncDispose]: async () => {
      await pool.stop(0);
      for (const listener of listeners) listener.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The protocol agreed on, or the code of the error instead. */
function shake(port: number, servername: string): Promise<string> {
  return new Promise((resolve) => {
    const options = { port, host: '127.0.0.1', servername, rejectUnauthorized: false, ALPNProtocols: ['acme-tls/1'] };
    const socket = tls.connect(options, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
}

function fetchToken(port: number, token: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', path: `/.well-known/acme-challenge/${token}`, agent: false as const };
    http
      .get({ ...options, headers: { host: 'nobody.example' } }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => resolve(`${response.statusCode} ${body}`));
      })
      .on('error', reject);
  });
}

test('when arming is done, each of three proxies answers at once without asking anybody', async () => {
  const ports = { http: await freePort(), https: await freePort() };
  await using proxies = await startProxies(ports);
  const signal = AbortSignal.timeout(20_000);
  for (let round = 0; round < 10; round++) {
    const challenge: Challenge = {
      type: 'http-01',
      identifier: { type: 'dns', value: 'app.example.com' },
      wildcard: false,
      token: `token-${round}`,
      keyAuthorization: `token-${round}.thumbprint`,
      accountUrl: '',
    };
    await Promise.all([proxies.http01.arm(challenge, signal), proxies.tlsAlpn01.arm(challenge, signal)]);
    // Connections are spread over the proxies by the kernel: a dozen reach all three, or nearly always.
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => [
        shake(ports.https, 'app.example.com'),
        fetchToken(ports.http, challenge.token),
      ]).flat(),
    );
    assert.deepEqual([...new Set(answers)].toSorted(), [`200 ${challenge.keyAuthorization}`, 'ACME challenge']);
    await Promise.all([proxies.http01.disarm(challenge), proxies.tlsAlpn01.disarm(challenge)]);
  }
  assert.equal(proxies.wanted(), 0);
  assert.equal(await shake(ports.https, 'app.example.com'), 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
  assert.equal(proxies.wanted(), 1);
});

test('a real CA is shown control over names and over addresses of both families, by the answers published', async () => {
  const ports = { http: await freePort(), https: await freePort() };
  await using pebble = await startPebble({ httpPort: ports.http, tlsPort: ports.https });
  await using proxies = await startProxies(ports);
  for (const solver of [proxies.http01, proxies.tlsAlpn01]) {
    const { certificate } = await orderBy(pebble, solver, ['app.example.com', 'new.example.com']);
    assert.equal(certificate.checkHost('new.example.com'), 'new.example.com');
    for (const address of ['127.0.0.1', '::1']) {
      const ordered = await orderBy(pebble, solver, [address], 'ip');
      assert.equal(ordered.certificate.checkIP(address), address);
    }
  }
  assert.equal(proxies.wanted(), 0);
});
