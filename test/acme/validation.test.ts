/** Showing control: by the way that fits, by the next one when it fails, for all names or for none. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { request } from 'undici';
import { startSetup } from '../support/acme_setup.ts';
import { rewriteJson } from '../support/acme_shim.ts';
import type { Answers } from '../support/acme_setup.ts';
import { freePort } from '../support/daemon.ts';
import type { Pebble } from '../support/pebble.ts';
import { ValidationError } from '../../src/certificates/acme/errors.ts';
import { classify } from '../../src/certificates/acme/failure.ts';
import type { Challenge, Solver } from '../../src/certificates/solvers/solver.ts';

async function validationOf(work: Promise<unknown>): Promise<ValidationError> {
  const reason: unknown = await work.catch((error: unknown) => error);
  assert.ok(reason instanceof ValidationError, String(reason));
  return reason;
}

/** Records at the test's own name server, with what is there at the moment. */
function createDnsSolver(pebble: () => Pebble): Solver & { readonly records: ReadonlyMap<string, readonly string[]> } {
  const records = new Map<string, readonly string[]>();
  const host = ({ identifier }: Challenge): string => `_acme-challenge.${identifier.value}.`;
  const value = ({ keyAuthorization }: Challenge): string =>
    createHash('sha256').update(keyAuthorization).digest('base64url');
  const set = async (name: string, values: readonly string[]): Promise<void> => {
    records.set(name, values);
    const post = async (path: string, body: object): Promise<void> => {
      const options = { method: 'POST', body: JSON.stringify(body) } as const;
      await (await request(`${pebble().dns.api}/${path}`, options)).body.dump();
    };
    await post('clear-txt', { host: name });
    for (const text of values) await post('set-txt', { host: name, value: text });
  };
  return {
    records,
    type: 'dns-01',
    solves: ({ type }) => type === 'dns',
    arm: (it) => set(host(it), [...(records.get(host(it)) ?? []), value(it)]),
    disarm: (it) =>
      set(
        host(it),
        (records.get(host(it)) ?? []).filter((text) => text !== value(it)),
      ),
  };
}

test('a wrong answer fails the order with what the CA says about which name, and nothing stays armed', async () => {
  await using setup = await startSetup();
  setup.answers.answerWith('something else');
  // Let's Encrypt adds what it fetched, after redirects; Pebble does not.
  const fetched = 'http://a.example.com/.well-known/acme-challenge/token';
  setup.shim.script(
    'authorization',
    rewriteJson((body) => ({
      ...body,
      challenges: (body['challenges'] as object[]).map((it) => ({ ...it, validationRecord: [{ url: fetched }] })),
    })),
  );
  const error = await validationOf(setup.obtain('a.example.com'));
  const [failure] = error.failures;
  assert.deepEqual([failure?.name, failure?.challenge, failure?.type], ['a.example.com', 'http-01', 'unauthorized']);
  assert.match(failure?.detail ?? '', /something else|key authorization/i);
  assert.equal(failure?.url, fetched);
  assert.deepEqual([classify(error).class, classify(error).code], ['validation', 5]);
  assert.equal(setup.answers.armed.size, 0);
  assert.equal(setup.shim.count('newOrder'), 1);
  assert.ok(setup.ledger.calls.includes('failed a.example.com'));
  // The failed order is done with: the next attempt begins anew, with what is mended.
  setup.answers.answerWith(null);
  await setup.obtain('a.example.com');
  assert.equal(setup.shim.count('newOrder'), 2);
});

test('a port nobody listens on, and a name that does not resolve, are told apart', async () => {
  await using closed = await startSetup({ pebble: { httpPort: await freePort() } });
  assert.equal((await validationOf(closed.obtain('a.example.com'))).failures[0]?.type, 'connection');
  await using nameless = await startSetup();
  const at = `${nameless.pebble.dns.api}/set-servfail`;
  const body = JSON.stringify({ host: 'a.example.com.' });
  await (await request(at, { method: 'POST', body })).body.dump();
  const error = await validationOf(nameless.obtain('a.example.com'));
  assert.match(`${error.failures[0]?.type} ${error.message}`, /dns|SERVFAIL|resolv/i);
});

test('of several names one fails: there is no certificate, the culprit is named, no other is blamed or dropped', async () => {
  await using setup = await startSetup({
    solvers: ({ solver }) => [
      {
        ...solver,
        arm: async (it, signal) => (it.identifier.value.startsWith('b.') ? undefined : solver.arm(it, signal)),
      },
    ],
  });
  const names = ['a.example.com', 'b.example.com', 'c.example.com'];
  const error = await validationOf(setup.obtain(names));
  assert.deepEqual(
    error.failures.map(({ name }) => name),
    ['b.example.com'],
  );
  assert.deepEqual(
    setup.ledger.calls.filter((call) => call.startsWith('failed')),
    ['failed b.example.com'],
  );
  assert.equal(setup.installed.length, 0);
  assert.equal(setup.pebble.issued(), 0);
  assert.equal(setup.answers.armed.size, 0);
});

test('when one way fails the next is tried, in an order of its own, and is the first the next time', async () => {
  let dns: Solver | null = null;
  await using setup = await startSetup({
    solvers: ({ solver }) => [
      solver,
      {
        type: 'dns-01',
        solves: () => true,
        arm: (it, signal) => dns?.arm(it, signal) ?? Promise.resolve(),
        disarm: async (it) => dns?.disarm(it),
      },
    ],
  });
  const records = createDnsSolver(() => setup.pebble);
  dns = records;
  setup.answers.answerWith('something else');
  const { about } = await setup.obtain('a.example.com');
  assert.deepEqual(about.solved, { 'a.example.com': 'dns-01' });
  assert.equal(setup.shim.count('newOrder'), 2);
  assert.deepEqual(
    setup.ledger.calls.filter((call) => call.startsWith('failed')),
    ['failed a.example.com'],
  );
  assert.deepEqual([...records.records.values()].flat(), []);
  const tried = setup.answers.seen.length;
  await setup.obtain('a.example.com');
  assert.equal(setup.shim.count('newOrder'), 3, 'what worked was tried first');
  assert.equal(setup.answers.seen.length, tried);
});

test('no way is tried twice for one name', async () => {
  await using setup = await startSetup({ solvers: useless });
  const error = await validationOf(setup.obtain('a.example.com'));
  assert.equal(error.failures.length, 1);
  assert.equal(setup.shim.count('newOrder'), 3);
  const told = setup.events('validation_failed').map((event) => event['challenge']);
  assert.deepEqual(told.toSorted(), ['dns-01', 'http-01', 'tls-alpn-01']);
});

test('an answer that cannot be prepared is told of, and the CA is not made to look', async () => {
  await using setup = await startSetup({
    solvers: ({ solver }) => [{ ...solver, arm: () => Promise.reject(new Error('the hook failed with 3')) }],
  });
  const error = await validationOf(setup.obtain('a.example.com'));
  assert.deepEqual([error.failures[0]?.type, error.failures[0]?.detail], ['solver', 'the hook failed with 3']);
  assert.equal(setup.shim.count('challenge'), 0);
  assert.ok(!setup.ledger.calls.some((call) => call.startsWith('failed')));
});

test('a wildcard and its apex are shown by two records at one name, and both are removed', async () => {
  const holder: { dns: ReturnType<typeof createDnsSolver> | null } = { dns: null };
  await using setup = await startSetup({
    solvers: ({ solver }) => [
      solver,
      {
        type: 'dns-01',
        solves: (_, wildcard) => wildcard,
        arm: (it, signal) => holder.dns?.arm(it, signal) ?? Promise.resolve(),
        disarm: async (it) => holder.dns?.disarm(it),
      },
    ],
  });
  holder.dns = createDnsSolver(() => setup.pebble);
  const { certificate, about } = await setup.obtain(['example.com', '*.example.com']);
  assert.deepEqual(certificate.names.toSorted(), ['*.example.com', 'example.com']);
  assert.deepEqual(about.solved, { 'example.com': 'http-01', '*.example.com': 'dns-01' });
  assert.deepEqual([...holder.dns.records.values()].flat(), []);
});

test('a name nothing fits says what was offered and what is configured', async () => {
  await using setup = await startSetup();
  const error = await validationOf(setup.obtain('*.example.com', { challenges: ['http-01'] }));
  assert.match(error.message, /\*\.example\.com: the CA offers dns-01; of acme\.challenges \(http-01\) none fits/);
  assert.equal(classify(error).needsOperator, true);
});

test('a persistent record is checked by the account it names: the challenge has no token', async () => {
  const seen: Challenge[] = [];
  await using setup = await startSetup({
    pebble: { env: { PEBBLE_VA_ALWAYS_VALID: '1' } },
    solvers: () => [
      {
        type: 'dns-persist-01',
        solves: () => true,
        arm: async (challenge) => void seen.push(challenge),
        disarm: () => Promise.resolve(),
      },
    ],
  });
  setup.shim.script(
    'authorization',
    rewriteJson((body) => {
      const [{ token: _token, ...challenge } = {}] = body['challenges'] as Record<string, unknown>[];
      return { ...body, challenges: [{ ...challenge, type: 'dns-persist-01', 'issuer-domain-names': ['ca.example'] }] };
    }),
  );
  const { about } = await setup.obtain('a.example.com');
  assert.deepEqual(about.solved, { 'a.example.com': 'dns-persist-01' });
  assert.deepEqual(
    seen.map(({ token, keyAuthorization, accountUrl }) => [token, keyAuthorization, accountUrl]),
    [['', '', about.accountUrl]],
  );
});

test('a certificate of many names is shown ten at a time', async () => {
  let now = 0;
  let most = 0;
  await using setup = await startSetup({
    solvers: ({ solver }) => [
      {
        ...solver,
        arm: async (challenge, signal) => {
          most = Math.max(most, ++now);
          await solver.arm(challenge, signal);
        },
        disarm: async (challenge) => {
          now--;
          await solver.disarm(challenge);
        },
      },
    ],
  });
  const names = Array.from({ length: 40 }, (_, i) => `n${i}.example.com`);
  const { certificate } = await setup.obtain(names);
  assert.equal(certificate.names.length, 40);
  assert.equal(most, 10);
  assert.equal(now, 0);
});

/** They arm nothing. */
function useless({ solver }: Answers): readonly Solver[] {
  const nothing = { solves: () => true, arm: () => Promise.resolve(), disarm: () => Promise.resolve() };
  return [
    { ...solver, ...nothing },
    { type: 'tls-alpn-01', ...nothing },
    { type: 'dns-01', ...nothing },
  ];
}
