import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { screen } from './status.ts';
import { COLOURED, renderStatus } from './status_report.ts';

const NOW = Date.parse('2026-01-02T12:00:00Z');
const ago = (ms: number): string => new Date(NOW - ms).toISOString();

const STATUS = {
  version: '1.2.3',
  pid: 42,
  started_at: ago(3_600_000),
  configuration: '/etc/proxy/proxy.yaml',
  dropped_log_lines: 0,
  health: { alive: true, ready: false, problems: ['service api has no ready worker'] },
  reload: { done: 1, refused: 1, last_ok: false, last_ok_at: ago(1_000), problem: 'the file has problems: a:1:1 bad' },
  machine: { cpus: 2, cpu: 0.95, memory: { total: 2 ** 31, available: 2 ** 30 }, swap: null, disk: null },
  listeners: [{ name: 'https', address: ':443', port: 443, tls: true }],
  proxies: [],
  sites: [{ name: 'a.example', hosts: ['a.example'], tls: 'acme' }],
  certificates: [
    {
      name: 'a.example',
      issuer: 'ca',
      not_after: ago(-86_400_000),
      renew_at: ago(1),
      next_attempt_at: null,
      last_error: null,
    },
    {
      name: 'b.example',
      issuer: 'ca',
      not_after: null,
      renew_at: null,
      next_attempt_at: ago(-60_000),
      last_error: 'refused\u001b[2J',
    },
  ],
  services: [
    {
      name: 'web',
      state: 'up',
      held: null,
      ready: 1,
      command: 'uvicorn main:app',
      release: { id: 'r1', name: null, directory: '/srv/app' },
      traffic: {
        requests_per_second: 12.5,
        errors_per_second: 0,
        p50_ms: 2,
        p95_ms: 8,
        p99_ms: null,
        queued: 0,
        in_flight: 1,
      },
      workers: [
        {
          id: 'web/0/g3',
          state: 'backoff',
          pid: null,
          started_at: null,
          next_start_at: ago(-4_000),
          in_flight: 0,
          memory: 2 ** 20,
          cpu: 0.5,
          restarts: 3,
          restarts_by_reason: { boot: 2, oom: 1 },
          lost_lines: 0,
          last_exit: 'exit code 3',
          last_exit_reason: 'boot',
          waits_for: null,
        },
      ],
      upstreams: [],
    },
    {
      name: 'api',
      state: null,
      held: { admission: 'paused', message: 'back soon' },
      ready: 0,
      workers: [],
      upstreams: [],
    },
  ],
};

test('says what is up, what is wrong and what comes next', () => {
  const text = renderStatus(STATUS, NOW);
  assert.match(
    text,
    /^proxy 1\.2\.3, pid 42, up 1h, \/etc\/proxy\/proxy\.yaml\nmachine: 2 CPUs 95 %, memory 50 % of 2\.0 GiB\n/,
  );
  assert.match(
    text,
    /What is wrong\n {2}service api has no ready worker\n {2}the last reload was refused: the file has problems: a:1:1 bad\n/,
  );
  assert.match(text, /api is paused: back soon/);
  assert.match(text, /web +up +1 of 1 +12\.5 +0\.0 +2 ms +8 ms +- /);
  assert.match(
    text,
    /web\/0\/g3 +backoff, next in 4s +- +- +0 +1 MiB +50 % +3 \(boot 2, oom 1\) +0 +exit code 3 \(boot\)/,
  );
  assert.match(text, /a\.example +ca +1d +renewed now/);
  assert.match(text, /b\.example +ca +none yet +tried in 1m/);
});

test('nothing that is told moves a cursor, with colours or without', () => {
  assert.doesNotMatch(renderStatus(STATUS, NOW), /\u001b/);
  const coloured = renderStatus(STATUS, NOW, COLOURED);
  assert.match(coloured, /\u001b\[32mup\u001b\[0m/);
  assert.doesNotMatch(coloured.replaceAll(/\u001b\[\d+m/g, ''), /\u001b/);
  // Colours move no column.
  assert.equal(stripVTControlCharacters(coloured), renderStatus(STATUS, NOW));
});

test('what is unknown or missing is a dash, never a failure', () => {
  for (const value of [null, {}, [], 'x', { services: [{}], certificates: [{}], proxies: [{}], machine: 5 }]) {
    assert.match(renderStatus(value, NOW), /^proxy /);
  }
});

test('a screen has as many lines and columns as there is room for', () => {
  const drawn = screen('aaaa\n\u001b[31mbbbbbb\u001b[0m\nc\nd', 3, 4);
  assert.equal(drawn, '\u001b[Haaaa\u001b[K\n\u001b[31mbbbb\u001b[0m\u001b[K\n… 2 \u001b[K\u001b[J');
});
