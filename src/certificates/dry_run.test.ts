import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dryRun } from './dry_run.ts';
import type { DryRunCertificate, DryRunOptions, DryRunReport } from './dry_run.ts';
import { AcmeProblem } from './acme/errors.ts';
import type { Finding, FindingCode } from './preflight/finding.ts';

const certificate = (name: string, more: Partial<DryRunCertificate> = {}): DryRunCertificate => ({
  name,
  hosts: [name],
  mode: 'acme',
  real: null,
  ...more,
});

const fail = (code: FindingCode): Finding => ({ check: 'dns', code, level: 'fail', subject: '', message: '', fix: '' });

/** `findings` by name; a trial succeeds unless it is said otherwise. */
async function run(
  certificates: readonly DryRunCertificate[],
  findings: Readonly<Record<string, readonly Finding[]>> = {},
  more: Partial<DryRunOptions> = {},
): Promise<DryRunReport & { readonly tried: readonly string[] }> {
  const tried: string[] = [];
  const report = await dryRun({
    certificates,
    ca: 'https://ca.example/dir',
    challenges: ['http-01', 'dns-01'],
    preflight: (asked) => Promise.resolve(asked.map((it) => ({ certificate: it, findings: findings[it.name] ?? [] }))),
    trial: ({ name }) => {
      tried.push(name);
      return Promise.resolve({ code: 0 });
    },
    preflightOnly: false,
    timeoutMs: 60_000,
    signal: new AbortController().signal,
    ...more,
  });
  return { ...report, tried };
}

test('what preflight fails is not ordered; the others are, and the exit code says they differ', async () => {
  const report = await run([certificate('a.example.com'), certificate('b.example.com')], {
    'a.example.com': [fail('dns_nxdomain'), fail('caa_servfail')],
  });
  assert.deepEqual(report.tried, ['b.example.com']);
  assert.deepEqual(
    report.results.map(({ name, outcome, code, reason }) => [name, outcome, code, reason]),
    [
      ['a.example.com', 'failed', 3, 'preflight failed: dns_nxdomain, caa_servfail'],
      ['b.example.com', 'would_renew', 0, null],
    ],
  );
  assert.equal(report.exitCode, 8);
});

test('a certificate no CA is asked for is neither checked nor ordered', async () => {
  const never = (): never => {
    throw new Error('nobody is to be asked');
  };
  const ours = certificate('in.local', { mode: 'internal' });
  const { results, exitCode } = await run([ours], {}, { preflight: never, trial: never });
  assert.deepEqual([results[0]?.outcome, results[0]?.ca, exitCode], ['would_renew', null, 0]);
  assert.match(results[0]?.reason ?? '', /tls: internal/);
});

test('a wildcard shows its control in DNS, and --preflight-only orders nothing', async () => {
  const wild = certificate('*.example.com');
  const { results, tried, exitCode } = await run([wild], {}, { preflightOnly: true });
  assert.deepEqual([results[0]?.challenge, results[0]?.trial, tried, exitCode], ['dns-01', null, [], 0]);
});

test('a trial that rejects is told in the words of the CA, with its exit code', async () => {
  const problem = new AcmeProblem({
    type: 'rateLimited',
    status: 429,
    detail: 'too many registrations',
    subproblems: [],
    retryAt: 1_800_000_000_000,
    url: 'https://ca.example/new-acct',
    instance: null,
  });
  const { results, exitCode } = await run([certificate('a.example.com')], {}, { trial: () => Promise.reject(problem) });
  assert.equal(exitCode, 6);
  assert.equal(results[0]?.reason, 'too many registrations');
  assert.equal(results[0]?.trial?.problem?.retryAt, 1_800_000_000_000);
});

test('what is not finished in time failed, preflight as well as trial', async () => {
  const forever = (_: unknown, signal: AbortSignal): Promise<never> =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  for (const late of [{ preflight: forever }, { trial: forever }]) {
    const { results, exitCode } = await run([certificate('a.example.com')], {}, { ...late, timeoutMs: 50 });
    assert.equal(exitCode, 4);
    assert.match(results[0]?.reason ?? '', /not finished within 0\.05 s/);
  }
});

test('when nobody waits for it any more it rejects, as soon as its trials have ended', async () => {
  const gone = new AbortController();
  let ended = false;
  const trial: DryRunOptions['trial'] = async (_, signal) => {
    gone.abort(new Error('gone'));
    await new Promise(setImmediate);
    ended = signal.aborted;
    return { code: 0 };
  };
  await assert.rejects(run([certificate('a.example.com')], {}, { trial, signal: gone.signal }), /gone/);
  assert.ok(ended);
});
