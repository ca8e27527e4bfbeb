import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { plainTarget, probe } from './probe.ts';

async function serve(server: net.Server): Promise<{ host: string; port: number }> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

test('takes any answer without a path, and 200 to 399 with one', async () => {
  const address = await serve(
    http.createServer((request, response) => response.writeHead(Number(request.url?.slice(1)) || 500).end()),
  );
  assert.deepEqual(await probe(plainTarget(address), { path: null, timeoutMs: 1_000 }), { ok: true });
  assert.deepEqual(await probe(plainTarget(address), { path: '/302', timeoutMs: 1_000 }), { ok: true });
  assert.deepEqual(await probe(plainTarget(address), { path: '/404', timeoutMs: 1_000 }), {
    ok: false,
    reason: '/404 answered 404',
    answered: true,
  });
});

test('says why there was no answer', async () => {
  const silent = await serve(net.createServer(() => {}));
  assert.deepEqual(await probe(plainTarget(silent), { path: null, timeoutMs: 50 }), {
    ok: false,
    reason: 'no answer within 50 ms',
    answered: false,
  });
  const refused = await probe(plainTarget({ host: '127.0.0.1', port: 1 }), { path: null, timeoutMs: 1_000 });
  assert.match(refused.ok ? '' : refused.reason, /ECONNREFUSED/);
  const cut = await serve(net.createServer((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab')));
  const result = await probe(plainTarget(cut), { path: null, timeoutMs: 1_000 });
  assert.equal(result.ok, false);
});
