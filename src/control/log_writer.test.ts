import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { createLogWriter } from './log_writer.ts';

test('drops and counts lines when nobody reads, and writes on when somebody does', async () => {
  let taken = '';
  let release = (): void => {};
  const stream = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      taken += chunk;
      release = done;
    },
  });
  const writer = createLogWriter(stream);
  const line = `${'x'.repeat(1024 * 1024 - 1)}\n`;
  for (let i = 0; i < 10; i++) writer.write(line);
  assert.ok(writer.dropped > 0 && writer.dropped < 10, String(writer.dropped));
  const several = writer.dropped;
  writer.write(Buffer.from('a\nb\nc\n'));
  assert.equal(writer.dropped, several + 3);
  const before = writer.dropped;
  while (stream.writableLength > 0) {
    release();
    await new Promise((resolve) => setImmediate(resolve));
  }
  writer.write('after\n');
  assert.equal(writer.dropped, before);
  assert.match(taken, /after\n$/);
});

test('a reader that goes away costs lines, not the service', async () => {
  const stream = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
  const writer = createLogWriter(stream);
  writer.write('a\n');
  await new Promise((resolve) => setImmediate(resolve));
  writer.write('b\n');
  assert.equal(writer.dropped, 1);
  await writer.flush();
});
