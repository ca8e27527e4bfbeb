/** The judgement can fail: each fault is committed once, by a "proxy" that does to the bytes what it should not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { startRawUpstream } from './raw_upstream.ts';
import { judge, judgeUpstream, sendBytes } from './strictness.ts';

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
const POST = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`;

/** Passes on what `change` makes of the bytes; null: ends the connection. */
async function faultsOf(sent: string, change: (bytes: string) => string | null): Promise<string[]> {
  await using upstream = await startRawUpstream();
  const proxy = net.createServer((client) => {
    const worker = net.connect(upstream.port, '127.0.0.1');
    for (const socket of [client, worker]) socket.on('error', () => {});
    client.on('close', () => worker.end());
    client.on('data', (chunk: Buffer) => {
      const changed = change(chunk.toString('latin1'));
      if (changed === null) client.destroy();
      else worker.write(changed, 'latin1');
    });
    worker.pipe(client);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const exchanged = await sendBytes((proxy.address() as AddressInfo).port, sent, { hangMs: 1_000 });
  const { findings, forwarded } = judge(exchanged, upstream);
  await new Promise((resolve) => proxy.close(resolve));
  const all = [...findings, ...judgeUpstream(upstream, forwarded)];
  return [...new Set(all.map(({ fault }) => fault))].toSorted();
}

const same = (bytes: string): string => bytes;

test('finds nothing wrong with what is right', async () => {
  assert.deepEqual(await faultsOf(POST, same), []);
});

test('finds requests beyond those that were sent', async () => {
  const unframed = await faultsOf(POST, (bytes) => bytes.replace(/Content-Length: \d+/, 'Content-Length: 0'));
  assert.deepEqual(unframed, ['ALTERED', 'EXTRA']);
  assert.ok((await faultsOf('nonsense\r\n\r\n', () => SMUGGLED)).includes('EXTRA'));
});

test('finds what is ambiguous, invalid, or not for the worker', async () => {
  const both = POST.replace('\r\n\r\n', '\r\nTransfer-Encoding: chunked\r\n\r\n');
  assert.ok((await faultsOf(both, same)).includes('AMBIG'));
  assert.ok((await faultsOf('GET / HTTP/1.1\nHost: a\r\n\r\n', same)).includes('INVALID'));
  assert.deepEqual(await faultsOf('GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\n\r\n', same), ['INVALID']);
  assert.deepEqual(await faultsOf('GET / HTTP/1.1\r\nHost: a\r\nX:y\r\n\r\n', same), ['INVALID']);
});

test('finds what was changed on the way', async () => {
  assert.deepEqual(await faultsOf(POST, (bytes) => bytes.replace('POST /', 'POST /x')), ['ALTERED']);
  assert.deepEqual(await faultsOf(POST, (bytes) => bytes.replace('Host: a', 'Host: b')), ['ALTERED']);
  assert.deepEqual(await faultsOf(POST, (bytes) => bytes.replace('\r\n\r\n', '\r\nX: y\r\n\r\n')), ['ALTERED']);
});

test('finds clients that hang or were sent away without a word', async () => {
  assert.deepEqual(await faultsOf(POST, () => ''), ['HANG']);
  assert.deepEqual(await faultsOf(POST, () => null), ['UNREFUSED']);
});
