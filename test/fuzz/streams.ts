/**
 * What clients might send, damaged at random and cut anywhere, through a running proxy: judged as the payloads of the
 * rules are. The same seed sends the same streams.
 */
import { mutate, REQUESTS, seeded } from './mutation.ts';
import { TABLES } from '../strictness/tables.ts';
import { startDaemon } from '../support/daemon.ts';
import { inLanes } from '../support/lanes.ts';
import { residentBytes } from '../support/processes.ts';
import { startRawUpstream } from '../support/raw_upstream.ts';
import type { Received } from '../support/raw_upstream.ts';
import type { Message } from '../support/strict_reader.ts';
import { judge, judgeUpstream, sendBytes } from '../support/strictness.ts';
import type { Fault, Finding } from '../support/strictness.ts';

export interface FuzzedStreams {
  readonly streams: number;
  readonly forwarded: readonly Message[];
  readonly refused: number;
  readonly faults: Readonly<Record<Fault, number>>;
  /** The first faults in words. */
  readonly examples: readonly string[];
  /** Proxies that ended. */
  readonly exits: number;
  /** By how much the resident memory of a proxy grew at most. */
  readonly grownBytes: number;
}

const AT_ONCE = 64;
const MAX_EXAMPLES = 10;
/** Larger ones say nothing that smaller ones do not. */
const MAX_SOURCE_BYTES = 1_000;

const CASES = TABLES.flatMap(({ cases }) => cases).filter(({ bytes }) => bytes.length <= MAX_SOURCE_BYTES);
const GOOD = CASES.filter(({ outcome }) => outcome === 'forwarded').map(({ bytes }) => bytes);
const BAD = CASES.filter(({ outcome }) => outcome !== 'forwarded').map(({ bytes }) => bytes);

export async function fuzzStreams(seed: number, streams: number): Promise<FuzzedStreams> {
  await using upstream = await startRawUpstream();
  await using daemon = await startDaemon({
    plain: 'timeouts: { headers: 1s, body_idle: 1s }',
    config: `logging: { access: false }
sites: [{ hosts: ["*"], tls: off, redirect_https: false, service: web }]
services:
  web: { upstreams: ["http://127.0.0.1:${upstream.port}"], health_check: { interval: 1h } }
`,
  });
  const proxies = (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
  const faults: Record<Fault, number> = { EXTRA: 0, INVALID: 0, AMBIG: 0, ALTERED: 0, HANG: 0, UNREFUSED: 0 };
  const examples: string[] = [];
  const claimed: Received[] = [];
  let refused = 0;
  const note = ({ fault, why }: Finding, bytes: string): void => {
    faults[fault]++;
    if (examples.length < MAX_EXAMPLES) examples.push(`${fault} ${why}\n  sent ${bytes}`);
  };
  const run = async (pieces: readonly string[]): Promise<void> => {
    const exchanged = await sendBytes(daemon.ports.http, pieces.join(''), { pieces, leave: true });
    const { findings, forwarded } = judge(exchanged, upstream);
    claimed.push(...forwarded);
    if (exchanged.answers.length > forwarded.length) refused++;
    for (const finding of findings) note(finding, JSON.stringify(pieces));
  };
  // Growth is counted from when everything has been used once.
  const first = Math.ceil(streams / 10);
  await inLanes(cutStreams(seed, first), AT_ONCE, run);
  const before = proxies.map(residentBytes);
  await inLanes(cutStreams(seed + 1, streams - first), AT_ONCE, run);
  const exits = daemon.events('proxy_exited').length;
  const grown = exits > 0 ? [] : proxies.map((pid, i) => residentBytes(pid) - (before[i] ?? 0));
  for (const finding of judgeUpstream(upstream, claimed)) note(finding, 'one of them');
  return {
    streams,
    forwarded: claimed.map(({ message }) => message),
    refused,
    faults,
    examples,
    exits,
    grownBytes: Math.max(0, ...grown),
  };
}

/** Each stream as the pieces it is sent in: one to three requests, most of them good before half of all are damaged. */
function* cutStreams(seed: number, count: number): Generator<readonly string[]> {
  const random = seeded(seed);
  const among = (sources: readonly string[]): string => sources[Math.floor(random() * sources.length)] ?? '';
  for (let i = 0; i < count; i++) {
    let bytes = '';
    for (let requests = 1 + Math.floor(random() * 3); requests > 0; requests--) {
      const source = among(random() < 0.3 ? REQUESTS : random() < 0.7 ? GOOD : BAD);
      bytes += random() < 0.5 ? mutate(source, random) : source;
    }
    const pieces: string[] = [];
    while (random() < 0.3 && bytes.length > 1) {
      const at = 1 + Math.floor(random() * (bytes.length - 1));
      pieces.push(bytes.slice(0, at));
      bytes = bytes.slice(at);
    }
    yield [...pieces, bytes];
  }
}
