/**
 * Every rule by which a request is refused or made unambiguous, each with its payloads, through a running proxy in front
 * of an upstream that keeps every byte. Whatever arrives there is read again by a strict reader of its own.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { inLanes } from '../support/lanes.ts';
import { readByParsers } from '../support/parsers.ts';
import { startRawUpstream } from '../support/raw_upstream.ts';
import type { RawUpstream, Received } from '../support/raw_upstream.ts';
import { judge, judgeUpstream, sendBytes, show } from '../support/strictness.ts';
import type { Exchanged } from '../support/strictness.ts';
import { FORGED } from './cases.ts';
import type { Case } from './cases.ts';
import { TABLES } from './tables.ts';

/** Most of the time is spent waiting for the proxy to lose its patience. */
const TABLES_AT_ONCE = 8;
const AT_ONCE = 24;
/** What a proxy that takes smuggling seriously is expected to have been shown at least. */
const ENOUGH = 3_400;

let upstream: RawUpstream;
let daemon: Daemon;
const claimed: Received[] = [];

before(async () => {
  upstream = await startRawUpstream();
  daemon = await startDaemon({
    plain: 'timeouts: { headers: 2s, body_idle: 2s }',
    config: `logging: { access: false }
sites: [{ hosts: ["*"], tls: off, redirect_https: false, service: web }]
services:
  web: { upstreams: ["http://127.0.0.1:${upstream.port}"], health_check: { interval: 1h } }
`,
  });
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

describe('requests', { concurrency: TABLES_AT_ONCE }, () => {
  for (const { rule, source, title, cases } of TABLES) {
    test(`rule ${rule}: ${title} (${source}), ${cases.length} cases`, async () => {
      const problems: string[] = [];
      await inLanes(cases, AT_ONCE, async (one) => {
        const exchanged = await sendBytes(daemon.ports.http, one.bytes);
        const { findings, forwarded } = judge(exchanged, upstream);
        claimed.push(...forwarded);
        const faults = findings.map(({ fault, why }) => `${fault} ${why}`);
        const surprise = surpriseIn(one, exchanged, forwarded.length);
        for (const fault of [...faults, ...(surprise === null ? [] : [surprise])]) {
          problems.push(`${one.name}: ${fault}\n  sent ${show(one.bytes)}`);
        }
      });
      assert.deepEqual(problems.slice(0, 20), [], `${problems.length} problems`);
    });
  }
});

function surpriseIn({ outcome }: Case, { sent, answers }: Exchanged, forwarded: number): string | null {
  const statuses = answers.map(({ status }) => status).join(', ');
  if (typeof outcome !== 'object') {
    const count = outcome === 'forwarded' ? sent.messages.length : outcome;
    return count > 0 && forwarded === count ? null : `${forwarded} of ${count} were forwarded; answers ${statuses}`;
  }
  const [answer] = answers;
  const refused = answers.length === 1 && answer !== undefined && forwarded === 0;
  return refused && outcome.includes(answer.status) ? null : `wanted ${outcome.join(' or ')}, got ${statuses}`;
}

test('nothing else ever reached the upstream', (t) => {
  assert.deepEqual(judgeUpstream(upstream, claimed), []);
  assert.equal(upstream.received.filter(({ message }) => message.raw.includes(FORGED)).length, 0);
  const payloads = new Set(TABLES.flatMap(({ cases }) => cases.map(({ bytes }) => bytes)));
  t.diagnostic(`${payloads.size} payloads, ${claimed.length} requests forwarded`);
  assert.ok(payloads.size >= ENOUGH);
});

test('node:http, gunicorn and uvicorn read what was forwarded as it was meant', async (t) => {
  const { count, problems } = await readByParsers(
    daemon.folder,
    claimed.map(({ message }) => message),
  );
  t.diagnostic(`${count} different requests each`);
  assert.deepEqual(problems.slice(0, 20), [], `${problems.length} problems`);
});

test('no process of the proxy ended meanwhile', async () => {
  assert.deepEqual(daemon.events('proxy_exited'), []);
  assert.ok((await daemon.status()).proxies.every(({ state }) => state === 'ready'));
});
