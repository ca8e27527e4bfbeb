import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameBounds } from './websocket_frames.ts';

test('is between frames exactly where one ends, whatever its length and however it is cut', () => {
  for (const [head, length] of [
    [[0x82, 5], 5],
    [[0x81, 126, 1, 0], 256],
    [[0x02, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536],
    [[0x89, 0], 0],
  ] as const) {
    const bytes = Buffer.concat([Buffer.from(head), Buffer.alloc(length, 0x88)]);
    const frames = new FrameBounds();
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < bytes.length; i++) {
        assert.equal(frames.isBetween, i === 0);
        frames.read(bytes.subarray(i, i + 1));
      }
    }
    frames.read(Buffer.concat([bytes, bytes]));
    assert.equal(frames.isBetween, true);
  }
});

test('nothing may follow a Close', () => {
  const frames = new FrameBounds();
  frames.read(Buffer.from([0x88, 2, 3, 232]));
  assert.equal(frames.isBetween, false);
});
