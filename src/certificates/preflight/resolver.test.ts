import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { judgeAddresses } from './addresses.ts';
import { createNameResolver } from './resolver.ts';
import type { NameResolver } from './resolver.ts';

const never = new AbortController().signal;

/** A name server that answers every question with a header's RCODE (RFC 1035 section 4.1.1), or null: not at all. */
async function nameServer(rcode: number | null): Promise<AsyncDisposable & { readonly at: string }> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (question, from) => {
    if (rcode === null) return;
    const answer = Buffer.from(question);
    answer[2] = 0x81;
    answer[3] = 0x80 | rcode;
    socket.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    at: `127.0.0.1:${(socket.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

async function kinds(resolver: NameResolver): Promise<string[]> {
  const name = 'app.example.com';
  const all = await Promise.all([resolver.addresses4(name), resolver.addresses6(name), resolver.caa(name)]);
  return [...new Set(all.map(({ kind }) => kind))];
}

test('no such name, a broken zone, no records and a silent server are told apart', async () => {
  await using nxdomain = await nameServer(3);
  await using servfail = await nameServer(2);
  await using refused = await nameServer(5);
  await using none = await nameServer(0);
  await using silent = await nameServer(null);
  const ask = ({ at }: { readonly at: string }): Promise<string[]> => kinds(createNameResolver([at], never));
  const begun = Date.now();
  assert.deepEqual(await Promise.all([nxdomain, servfail, refused, none, silent].map(ask)), [
    ['nxdomain'],
    ['servfail'],
    ['servfail'],
    ['none'],
    ['unanswered'],
  ]);
  assert.ok(Date.now() - begun < 7_000, 'a silent server is given 5 s');
});

test('a question is given up when it is told to', async () => {
  await using silent = await nameServer(null);
  const giveUp = new AbortController();
  const asked = createNameResolver([silent.at], giveUp.signal).addresses4('app.example.com');
  giveUp.abort(new Error('enough'));
  await assert.rejects(asked, /enough/);
});

test('a name has addresses, or it is said why not', () => {
  const judge = (v4: string, v6 = v4): string =>
    judgeAddresses('app.example.com', { v4: answer(v4), v6: answer(v6) }, false)
      .map(({ level, code }) => `${level} ${code}`)
      .join(', ');
  assert.equal(judge('203.0.113.5', 'none'), 'ok ok');
  assert.equal(judge('203.0.113.5', 'servfail'), 'ok ok, warn dns_servfail');
  assert.equal(judge('none'), 'fail dns_no_address');
  assert.equal(judge('nxdomain'), 'fail dns_nxdomain');
  assert.equal(judge('servfail', 'none'), 'fail dns_servfail');
  assert.equal(judge('unanswered'), 'warn dns_unanswered');
  assert.equal(judge('10.0.0.5', 'none'), 'ok ok, warn dns_private_address');
});

function answer(text: string): Awaited<ReturnType<NameResolver['addresses4']>> {
  if (text === 'none' || text === 'nxdomain') return { kind: text };
  if (text === 'servfail' || text === 'unanswered') return { kind: text, code: 'ECODE' };
  return { kind: 'found', values: [text] };
}
