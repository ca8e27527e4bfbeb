import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDryRunReport, renderDryRun } from './dry_run_report.ts';
import type { DryRunReport, DryRunResult } from '../certificates/dry_run.ts';
import type { Finding } from '../certificates/preflight/finding.ts';

const NOW = Date.UTC(2026, 10, 24);
const DAY = 86_400_000;

const WELL: DryRunResult = {
  name: 'app.example.com',
  hosts: ['app.example.com'],
  ca: 'https://ca.example/dir',
  challenge: 'http-01',
  outcome: 'would_renew',
  code: 0,
  reason: null,
  preflight: { level: 'ok', findings: [] },
  trial: { code: 0, challenge: 'http-01' },
  real: { notAfter: NOW + 61 * DAY, renewAt: NOW + 31 * DAY, window: null },
};

/** As it comes from the daemon: through JSON. */
function render(results: readonly DryRunResult[], preflightOnly = false): string {
  const report: DryRunReport = {
    version: '1',
    dryRun: true,
    preflightOnly,
    ca: 'https://ca.example/dir',
    results,
    exitCode: 0,
  };
  const parsed = parseDryRunReport(JSON.parse(JSON.stringify(report)));
  assert.ok(parsed !== null);
  return renderDryRun(parsed, NOW);
}

function failing(message: string): DryRunResult {
  const finding: Finding = {
    check: 'self_probe',
    code: 'port80_not_ours',
    level: 'fail',
    subject: 'app.example.com',
    message,
    fix: 'stop it',
  };
  return { ...WELL, outcome: 'failed', code: 3, trial: null, preflight: { level: 'fail', findings: [finding] } };
}

test('one line says what would happen and what there is', () => {
  const window = { start: NOW + 29 * DAY, end: NOW + 30 * DAY };
  const lines = render([
    WELL,
    { ...WELL, name: 'b.example.com', real: { notAfter: NOW - DAY, renewAt: NOW - 2 * DAY, window: null } },
    { ...WELL, name: 'c.example.com', real: { notAfter: NOW + 61 * DAY, renewAt: NOW + 29 * DAY, window } },
    { ...WELL, name: 'd.example.com', real: null },
    { ...WELL, name: 'in.local', ca: null, challenge: null, trial: null },
  ]).split('\n');
  assert.match(lines[1] ?? '', /^app\.example\.com +ca\.example +http-01 +ok +ok +61d left, renews in 31d$/);
  assert.match(lines[2] ?? '', /EXPIRED 1d ago, due now$/);
  assert.match(lines[3] ?? '', /renews in 29d; CA suggests 2026-12-23 to 2026-12-24$/);
  assert.match(lines[4] ?? '', /none yet$/);
  assert.match(lines[5] ?? '', /^in\.local +- +- +- +- +61d left/);
});

test('nothing a stranger sent reaches a terminal unescaped', () => {
  const evil = 'parking\u001b[2J\u009b31m\u202e\nFAILED forged (line), for you';
  const said = render([
    failing(`by a server that calls itself "${evil}"`),
    {
      ...WELL,
      name: 'b.example.com',
      outcome: 'failed',
      code: 5,
      reason: evil,
      trial: {
        code: 5,
        reason: evil,
        problem: {
          type: evil,
          status: 403,
          subproblems: [{ identifier: evil, type: evil, detail: evil }],
          url: evil,
          retryAt: null,
        },
      },
    },
  ]);
  assert.doesNotMatch(said, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  assert.doesNotMatch(said, /^FAILED forged/m, 'nor begins a line of its own');
});

test('the same fault of several certificates is told once, failures before warnings', () => {
  const shared = failing('somebody else');
  const warning: Finding = { ...(shared.preflight.findings[0] as Finding), level: 'warn', code: 'port_not_80' };
  const both = { level: 'fail', findings: [warning, ...shared.preflight.findings] } as const;
  const said = render([
    { ...shared, preflight: both },
    { ...shared, name: 'b.example.com', preflight: both },
  ]);
  assert.equal(said.match(/port80_not_ours \(app/g)?.length, 1);
  assert.match(said, /^FAILED port80_not_ours \(app\.example\.com\), for app\.example\.com, b\.example\.com$/m);
  assert.ok(said.indexOf('FAILED port80_not_ours (') < said.indexOf('warning port_not_80 ('));
});

test('a refusal of the CA comes with its type, each name, the URL it fetched and what helps', () => {
  const problem = {
    type: 'connection',
    status: 400,
    subproblems: [{ identifier: 'app.example.com', type: 'connection', detail: 'Timeout during connect' }],
    url: 'http://app.example.com/.well-known/acme-challenge/…',
    retryAt: NOW,
  };
  const said = render([{ ...WELL, outcome: 'failed', code: 5, reason: 'it failed', trial: { code: 5, problem } }]);
  assert.match(said, /^FAILED connection, for app\.example\.com$/m);
  assert.match(said, /^ {2}why: it failed$/m);
  assert.match(said, /^ {2}app\.example\.com: connection: Timeout during connect$/m);
  assert.match(said, /^ {2}url: http:\/\/app\.example\.com\/\.well-known\/acme-challenge\/…$/m);
  assert.match(said, /^ {2}until: 2026-11-24T00:00:00/m);
  assert.match(said, /^ {2}fix: let the CA reach that URL/m);
});

test('what is no report of a dry run is none', () => {
  assert.equal(parseDryRunReport({ results: [{ name: 'x', outcome: 'renewed', code: 0 }], exitCode: 0 }), null);
});
