import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, escapeControls } from './log.ts';
import type { LogFields, LogFormat } from './log.ts';

const AT = new Date('2026-01-02T03:04:05.678Z');

/** The line an event becomes. */
function logged(format: LogFormat, level: 'info' | 'warn', event: string, fields: LogFields): string {
  let line = '';
  createLogger({ level: 'debug', format, write: (text) => (line += text), now: () => AT })[level](event, fields);
  return line;
}

test('writes one JSON object per event, errors as message and code', () => {
  const error = Object.assign(new Error('refused', { cause: new Error('why') }), { code: 'ECONNREFUSED' });
  const line = logged('json', 'warn', 'probe_failed', { error, n: 1 });
  assert.deepEqual(JSON.parse(line), {
    time: '2026-01-02T03:04:05.678Z',
    level: 'warn',
    event: 'probe_failed',
    error: 'refused (ECONNREFUSED): why',
    n: 1,
  });
});

test('no value can break a line or reach a terminal as a control sequence', () => {
  for (const format of ['text', 'json'] as const) {
    const line = logged(format, 'info', 'x', { path: 'a\nb\u001b[31m\u009b\u202e\u2028' });
    assert.equal(line.indexOf('\n'), line.length - 1);
    assert.equal(escapeControls(line.slice(0, -1)), line.slice(0, -1));
  }
});

test('a field that cannot be written costs the fields, not the event', () => {
  const seen: unknown[] = [];
  let text = '';
  const log = createLogger({
    level: 'info',
    format: 'json',
    write: (line) => (text += line),
    observe: (event) => seen.push(event.fields),
  });
  const circle: Record<string, unknown> = {};
  circle['circle'] = circle;
  log.info('odd', { circle, big: 1n });
  assert.match(text, /"event":"odd","not_logged":"Converting circular structure/);
  assert.equal(seen.length, 1);
});

test('drops events below the level and adds the fields of with()', () => {
  const lines: string[] = [];
  const log = createLogger({ level: 'warn', format: 'json', write: (line) => lines.push(line) }).with({
    service: 'web',
  });
  log.info('quiet');
  log.warn('loud');
  assert.equal(lines.length, 1);
  assert.equal(JSON.parse(lines[0] ?? '').service, 'web');
});
