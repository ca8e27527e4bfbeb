/** An HTTP/2 client that writes exactly the frames it is given: what no HTTP/2 library would send. */
import { once } from 'node:events';
import tls from 'node:tls';
import type { Ports } from './daemon.ts';
import { eventually } from './eventually.ts';

export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

/** A setting's identifier. */
export const INITIAL_WINDOW_SIZE = Buffer.from([0, 4]);

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A daemon, perhaps another process's. */
export interface Listening {
  readonly ports: Ports;
}

export interface FrameClient extends Disposable {
  readonly socket: tls.TLSSocket;
  send(...frames: readonly Buffer[]): void;
  /** All frames received so far. */
  received(): readonly Frame[];
  /** Resolves with the first frame, received or to come, that `matches`. */
  until(matches: (frame: Frame) => boolean, withinMs?: number): Promise<Frame>;
  /** Resolves when the other side has closed. */
  closed(withinMs?: number): Promise<void>;
}

export function frame(type: number, flags: number, stream: number, payload: Buffer | string = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

export function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

export type Fields = readonly (readonly [name: string, value: string])[];

/** RFC 7541 section 6.2.2: every field as a literal, neither indexed nor Huffman coded. */
export function headerBlock(fields: Fields): Buffer {
  const text = (value: string): Buffer[] => [
    prefixed(Buffer.byteLength(value, 'latin1'), 7),
    Buffer.from(value, 'latin1'),
  ];
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), ...text(name), ...text(value)]));
}

/** RFC 7541 section 6.2.1: a literal that becomes the newest entry of the header table. */
export function indexedField(name: string, value: string): Buffer {
  const literal = headerBlock([[name, value]]);
  literal[0] = 0x40;
  return literal;
}

/** RFC 7541 section 5.1: an integer behind a prefix of `bits` bits. */
function prefixed(value: number, bits: number): Buffer {
  const max = 2 ** bits - 1;
  if (value < max) return Buffer.from([value]);
  const out = [max];
  let rest = value - max;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) + 128);
  out.push(rest);
  return Buffer.from(out);
}

/** The pseudo-header fields of a request to the daemon's site, with what else is given. */
export function requestFields(daemon: Listening, path: string, { method = 'GET', more = [] as Fields } = {}): Fields {
  return [
    [':method', method],
    [':scheme', 'https'],
    [':authority', `localhost:${daemon.ports.https}`],
    [':path', path],
    ...more,
  ];
}

export function headers(stream: number, fields: Fields, flags = END_STREAM): Buffer {
  return frame(HEADERS, flags | END_HEADERS, stream, headerBlock(fields));
}

const MAX_FRAME = 16_384;

/** As HEADERS and as many CONTINUATION frames as it takes. */
export function headerFrames(stream: number, fields: Fields, flags = END_STREAM): Buffer[] {
  const block = headerBlock(fields);
  const count = Math.max(1, Math.ceil(block.length / MAX_FRAME));
  return Array.from({ length: count }, (_, i) =>
    frame(
      i === 0 ? HEADERS : CONTINUATION,
      (i === 0 ? flags : 0) | (i === count - 1 ? END_HEADERS : 0),
      stream,
      block.subarray(i * MAX_FRAME, (i + 1) * MAX_FRAME),
    ),
  );
}

/** Connects, and unless told otherwise says the preface and our settings, and waits until they are acknowledged. */
export async function connectFrames(daemon: Listening, { preface = true } = {}): Promise<FrameClient> {
  const socket = tls.connect({
    port: daemon.ports.https,
    servername: 'localhost',
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  const frames: Frame[] = [];
  let pending = Buffer.alloc(0);
  let ended = false;
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      const end = pending.length < 9 ? Infinity : 9 + pending.readUIntBE(0, 3);
      if (pending.length < end) return;
      const [type = 0, flags = 0] = pending.subarray(3, 5);
      frames.push({ type, flags, stream: pending.readUInt32BE(5), payload: pending.subarray(9, end) });
      pending = pending.subarray(end);
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => (ended = true));
  socket.on('end', () => (ended = true));
  await once(socket, 'secureConnect');
  if (preface) {
    socket.write(Buffer.concat([Buffer.from(PREFACE), frame(SETTINGS, 0, 0)]));
    // Before the first frames of the other side are out, an error may end the connection without a word.
    await eventually(() => frames.some(({ type, flags }) => type === SETTINGS && flags === ACK), { everyMs: 2 });
  }
  return {
    socket,
    send: (...parts) => void socket.write(Buffer.concat(parts)),
    received: () => frames,
    until: (matches, withinMs = 5_000) => eventually(() => frames.find(matches), { withinMs }),
    closed: async (withinMs = 5_000) => {
      await eventually(() => ended, { withinMs });
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}
