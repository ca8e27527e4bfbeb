/** Frames that break HTTP/2 itself end their stream or their connection with the error that RFC 9113 asks for. */
import assert from 'node:assert/strict';
import { constants } from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import {
  ACK,
  connectFrames,
  CONTINUATION,
  DATA,
  END_STREAM,
  frame,
  GOAWAY,
  headerBlock,
  HEADERS,
  headers,
  PING,
  PUSH_PROMISE,
  requestFields,
  RST_STREAM,
  SETTINGS,
  uint32,
  WINDOW_UPDATE,
} from '../support/frames.ts';

const {
  NGHTTP2_PROTOCOL_ERROR: PROTOCOL,
  NGHTTP2_FLOW_CONTROL_ERROR: FLOW_CONTROL,
  NGHTTP2_STREAM_CLOSED: CLOSED,
  NGHTTP2_FRAME_SIZE_ERROR: FRAME_SIZE,
  NGHTTP2_COMPRESSION_ERROR: COMPRESSION,
} = constants;
const PADDED = 8;
const END_HEADERS = 4;
const MAX_WINDOW = 2 ** 31 - 1;

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({ config: `sites: [{ hosts: [localhost], service: web }]\n${RECORDING_SERVICE}` });
});
after(() => daemon[Symbol.asyncDispose]());

/** A request whose answer does not come before what follows it is read. */
const slow = (stream = 1, flags = END_STREAM): Buffer => headers(stream, requestFields(daemon, '/slow?ms=300'), flags);

function setting(id: number, value: number): Buffer {
  return frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)]));
}

interface Broken {
  /** The section of the rule, and what is sent. */
  readonly name: string;
  readonly code: number;
  frames(): readonly Buffer[];
}

const OF_THE_CONNECTION: readonly Broken[] = [
  { name: '6.1: DATA on stream 0', code: PROTOCOL, frames: () => [frame(DATA, 0, 0, 'x')] },
  { name: '5.1: DATA on an idle stream', code: PROTOCOL, frames: () => [frame(DATA, 0, 1, 'x')] },
  {
    name: '6.1: more padding than payload',
    code: PROTOCOL,
    frames: () => [slow(1, 0), frame(DATA, PADDED, 1, Buffer.from([5, 1, 2]))],
  },
  { name: '6.2: HEADERS on stream 0', code: PROTOCOL, frames: () => [slow(0)] },
  { name: '5.1.1: HEADERS on a stream of even number', code: PROTOCOL, frames: () => [slow(2)] },
  { name: '6.4: RST_STREAM on stream 0', code: PROTOCOL, frames: () => [frame(RST_STREAM, 0, 0, uint32(0))] },
  { name: '6.4: RST_STREAM on an idle stream', code: PROTOCOL, frames: () => [frame(RST_STREAM, 0, 1, uint32(0))] },
  { name: '6.4: RST_STREAM of 3 bytes', code: FRAME_SIZE, frames: () => [slow(), frame(RST_STREAM, 0, 1, 'abc')] },
  { name: '6.5: SETTINGS on a stream', code: PROTOCOL, frames: () => [frame(SETTINGS, 0, 1)] },
  { name: '6.5: SETTINGS of 5 bytes', code: FRAME_SIZE, frames: () => [frame(SETTINGS, 0, 0, 'abcde')] },
  {
    name: '6.5: an acknowledgement with settings',
    code: FRAME_SIZE,
    frames: () => [frame(SETTINGS, ACK, 0, Buffer.alloc(6))],
  },
  { name: '6.5.2: ENABLE_PUSH of 2', code: PROTOCOL, frames: () => [setting(2, 2)] },
  {
    name: '6.5.2: INITIAL_WINDOW_SIZE beyond its limit',
    code: FLOW_CONTROL,
    frames: () => [setting(4, MAX_WINDOW + 1)],
  },
  { name: '6.5.2: MAX_FRAME_SIZE below its limit', code: PROTOCOL, frames: () => [setting(5, 100)] },
  {
    name: '8.4: PUSH_PROMISE of a client',
    code: PROTOCOL,
    frames: () => [slow(), frame(PUSH_PROMISE, END_HEADERS, 1, uint32(2))],
  },
  { name: '6.7: PING of 7 bytes', code: FRAME_SIZE, frames: () => [frame(PING, 0, 0, Buffer.alloc(7))] },
  { name: '6.7: PING on a stream', code: PROTOCOL, frames: () => [frame(PING, 0, 1, Buffer.alloc(8))] },
  { name: '6.8: GOAWAY on a stream', code: PROTOCOL, frames: () => [frame(GOAWAY, 0, 1, Buffer.alloc(8))] },
  { name: '6.9: WINDOW_UPDATE of 0', code: PROTOCOL, frames: () => [frame(WINDOW_UPDATE, 0, 0, uint32(0))] },
  { name: '6.9: WINDOW_UPDATE of 3 bytes', code: FRAME_SIZE, frames: () => [frame(WINDOW_UPDATE, 0, 0, 'abc')] },
  {
    name: '6.9: WINDOW_UPDATE on an idle stream',
    code: PROTOCOL,
    frames: () => [frame(WINDOW_UPDATE, 0, 1, uint32(1))],
  },
  {
    name: '6.9.1: a window of the connection beyond its limit',
    code: FLOW_CONTROL,
    frames: () => [frame(WINDOW_UPDATE, 0, 0, uint32(MAX_WINDOW))],
  },
  {
    name: '4.2: a frame of 16,385 bytes',
    code: FRAME_SIZE,
    frames: () => [slow(1, 0), frame(DATA, 0, 1, 'x'.repeat(16_385))],
  },
  {
    name: '6.10: CONTINUATION without HEADERS',
    code: PROTOCOL,
    frames: () => [slow(), frame(CONTINUATION, END_HEADERS, 1)],
  },
  {
    name: '6.10: another frame before CONTINUATION',
    code: PROTOCOL,
    frames: () => [frame(HEADERS, 0, 1, headerBlock(requestFields(daemon, '/'))), frame(PING, 0, 0, Buffer.alloc(8))],
  },
  {
    name: '6.10: CONTINUATION of another stream',
    code: PROTOCOL,
    frames: () => [frame(HEADERS, 0, 1, headerBlock(requestFields(daemon, '/'))), frame(CONTINUATION, END_HEADERS, 3)],
  },
  {
    name: '4.3: a field of no table',
    code: COMPRESSION,
    frames: () => [frame(HEADERS, 5, 1, Buffer.from([0xff, 0xff, 0x7f]))],
  },
  { name: '4.3: field 0', code: COMPRESSION, frames: () => [frame(HEADERS, 5, 1, Buffer.from([0x80]))] },
  {
    name: '4.3.1: a header table beyond its limit',
    code: COMPRESSION,
    frames: () => [frame(HEADERS, 5, 1, Buffer.from([0x3f, 0xe1, 0xff, 0x03]))],
  },
  {
    name: '4.3: a field cut off',
    code: COMPRESSION,
    frames: () => [frame(HEADERS, 5, 1, Buffer.from([0x00, 0x05, 0x61]))],
  },
];

const OF_THE_STREAM: readonly Broken[] = [
  { name: '5.1: DATA after the end of the stream', code: CLOSED, frames: () => [slow(), frame(DATA, 0, 1, 'x')] },
  {
    name: '6.9: WINDOW_UPDATE of 0 on a stream',
    code: PROTOCOL,
    frames: () => [slow(), frame(WINDOW_UPDATE, 0, 1, uint32(0))],
  },
  {
    name: '6.9.1: a window of a stream beyond its limit',
    code: FLOW_CONTROL,
    frames: () => [slow(), frame(WINDOW_UPDATE, 0, 1, uint32(MAX_WINDOW))],
  },
  { name: '8.1: a second head without the end of the stream', code: PROTOCOL, frames: () => [slow(1, 0), slow(1, 0)] },
];

describe('frames of HTTP/2', { concurrency: 8 }, () => {
  for (const { name, code, frames } of OF_THE_CONNECTION) {
    test(`RFC 9113 ${name} ends the connection with error ${code}`, async () => {
      using client = await connectFrames(daemon);
      client.send(...frames());
      const { payload } = await client.until(({ type }) => type === GOAWAY);
      assert.equal(payload.readUInt32BE(4), code);
      await client.closed();
    });
  }

  for (const { name, code, frames } of OF_THE_STREAM) {
    test(`RFC 9113 ${name} ends the stream with error ${code}, and no other`, async () => {
      using client = await connectFrames(daemon);
      client.send(...frames(), headers(3, requestFields(daemon, '/')));
      const { payload } = await client.until(({ type, stream }) => type === RST_STREAM && stream === 1);
      assert.equal(payload.readUInt32BE(), code);
      await client.until(({ type, stream, flags }) => type === DATA && stream === 3 && (flags & END_STREAM) !== 0);
    });
  }

  test('RFC 9113 3.4: another preface ends the connection', async () => {
    using client = await connectFrames(daemon, { preface: false });
    client.send(Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'));
    await client.closed();
  });

  test('RFC 9113 5.5: a frame of an unknown type is ignored, RFC 9113 6.7: a PING answered', async () => {
    using client = await connectFrames(daemon);
    client.send(frame(0xfa, 0xff, 0, 'unknown'), frame(PING, 0, 0, '12345678'), headers(1, requestFields(daemon, '/')));
    const { payload } = await client.until(({ type, flags }) => type === PING && flags === ACK);
    assert.equal(payload.toString(), '12345678');
    await client.until(({ type, stream }) => type === DATA && stream === 1);
  });
});

test('no process of the proxy ended meanwhile', async () => {
  assert.deepEqual(daemon.events('proxy_exited'), []);
  assert.ok((await daemon.status()).proxies.every(({ state }) => state === 'ready'));
});
