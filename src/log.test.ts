import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, escapeControls, formatEvent } from './log.ts';

const AT = new Date('2026-01-02T03:04:05.678Z');

test('writes one JSON object per event, errors as message and code', () => {
  const error = Object.assign(new Error('refused', { cause: new Error('why') }), { code: 'ECONNREFUSED' });
  const line = formatEvent('json', AT, 'warn', 'probe_failed', { error, n: 1 });
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
    const line = formatEvent(format, AT, 'info', 'x', { path: 'a\nb\u001b[31m\u009b\u202e\u2028' });
    assert.equal(line.indexOf('\n'), line.length - 1);
    assert.equal(escapeControls(line.slice(0, -1)), line.slice(0, -1));
  }
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
