import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import { readOutput } from './output.ts';
import type { Output } from './output.ts';
import { createLogger } from '../log.ts';

interface Reading {
  readonly output: Output;
  events(event: string): Record<string, unknown>[];
}

function reading(stdout: Readable, stderr: Readable = Readable.from([])): Reading {
  const lines: string[] = [];
  const log = createLogger({ level: 'info', format: 'json', write: (line) => lines.push(line) });
  return {
    output: readOutput({ stdout, stderr, worker: 'web/0/g1', log }),
    events: (event) => lines.map((line) => JSON.parse(line)).filter((one) => one.event === event),
  };
}

const LINE = `${'x'.repeat(999)}\n`;

test('keeps the last 200 lines, of both streams', async () => {
  const { output, events } = reading(
    Readable.from([Buffer.from(Array.from({ length: 300 }, (_, i) => `out ${i}\n`).join(''))]),
    Readable.from([Buffer.from('the reason\n')]),
  );
  await output.ended;
  assert.equal(output.tail(1_000).length, 200);
  assert.ok(output.tail(200).includes('the reason'));
  assert.equal(events('worker_output').length, 301);
  assert.equal(output.lostLines, 0);
});

test('tells at the end how much was lost, and has the last words all the same', async () => {
  const chunks = Array.from({ length: 20 }, () => Buffer.from(LINE.repeat(1_000)));
  const { output, events } = reading(Readable.from([...chunks, Buffer.from('panic: at last\n')]));
  await output.ended;
  assert.ok(output.lostLines > 0);
  assert.equal(events('worker_output').length + output.lostLines, 20_001);
  const [lost, ...more] = events('worker_output_lost');
  assert.deepEqual(more, []);
  assert.deepEqual([lost?.['worker'], lost?.['lines']], ['web/0/g1', output.lostLines]);
  assert.deepEqual(output.tail(1), ['panic: at last']);
});

test('a stream that is flooded takes nothing from the other', async () => {
  const stderr = new PassThrough();
  const stdout = Readable.from(Array.from({ length: 20 }, () => Buffer.from(LINE.repeat(1_000))));
  const { output, events } = reading(stdout, stderr);
  stdout.once('end', () => stderr.end('Traceback\n'));
  await output.ended;
  assert.equal(events('worker_output').filter(({ line }) => line === 'Traceback').length, 1);
});

test('one that writes without end waits at times, and loses nothing by it', async () => {
  const chunk = Buffer.from(LINE.repeat(1_000));
  const source = Readable.from(Array.from({ length: 60 }, () => chunk));
  let waited = 0;
  source.on('pause', () => waited++);
  const { output, events } = reading(source);
  await output.ended;
  assert.ok(waited > 0);
  assert.equal(events('worker_output').length + output.lostLines, 60_000);
});
