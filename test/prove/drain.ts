/** The end of the daemon in the midst of its work. */
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { once } from 'node:events';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { startDaemon } from '../support/daemon.ts';
import { drainConfig, drainUnderLoad } from '../support/drain.ts';
import { eventually } from '../support/eventually.ts';

export const SUMMARY = 'TERM with 200 requests in flight cuts none that fits the grace period (GRACE_MS=15000)';

const EXTRA_MS = 1_000;
const MIB = 1024 * 1024;

export async function prove(): Promise<void> {
  const graceMs = Number(process.env['GRACE_MS'] ?? 15_000);
  await using daemon = await startDaemon({ config: drainConfig(graceMs) });
  const outcome = await drainUnderLoad(daemon, {
    http1: 100,
    http2: 98,
    sessions: 7,
    longestMs: graceMs * 0.6,
    downloadBytes: 20 * MIB,
    downloadMs: graceMs * 0.6,
  });
  const twiceMs = await endTwice(graceMs);
  const newcomers = [...outcome.newcomers].map(([how, count]) => `${count} ${how}`).join(', ');
  print(
    formatTable([
      ['in flight', `${outcome.inFlight} requests and a WebSocket`],
      ['answered whole', `${outcome.whole} of ${outcome.asked}`],
      ['the 20 MiB download ended after', `${outcome.downloadEndedAfterMs} ms`],
      ['HTTP/2 connections told by GOAWAY', `${outcome.goaways} of 7`],
      ['echoes over the WebSocket after TERM', `${outcome.echoes}, ended after ${outcome.webSocketEndedAfterMs} ms`],
      ['connections tried meanwhile', newcomers],
      ['exit code', `${outcome.exitCode} after ${outcome.exitedAfterMs} ms, allowed ${graceMs + EXTRA_MS}`],
      ['a second TERM ends it within', `${twiceMs} ms`],
    ]),
  );
  assert.deepEqual(outcome.problems, []);
  assert.ok(outcome.inFlight > outcome.asked * 0.95, 'too few were in flight to show anything');
  assert.equal(outcome.goaways, 7);
  assert.ok(outcome.echoes > 10);
  assert.deepEqual(
    [...outcome.newcomers.keys()].filter((how) => how !== 'refused' && how !== 'answered'),
    [],
  );
  assert.equal(outcome.exitCode, 0);
  assert.ok(outcome.exitedAfterMs <= graceMs + EXTRA_MS);
  assert.ok(twiceMs <= 1_000);
}

/** How long it takes to end after a second TERM, with a request in flight that would take the whole grace period. */
async function endTwice(graceMs: number): Promise<number> {
  await using daemon = await startDaemon({ config: drainConfig(graceMs) });
  const session = http2.connect(daemon.origin, { rejectUnauthorized: false });
  session.on('error', () => {});
  const stream = session.request({ ':path': `/slow?ms=${graceMs}` });
  stream.on('error', () => {});
  await once(session, 'connect');
  await sleep(300);
  daemon.child.kill('SIGTERM');
  await eventually(() => daemon.events('stopping').length === 1);
  // Within a moment it would be the same Ctrl-C.
  await sleep(500);
  const begun = performance.now();
  daemon.child.kill('SIGTERM');
  await daemon.exited;
  session.destroy();
  return Math.round(performance.now() - begun);
}
