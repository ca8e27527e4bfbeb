import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Certificate } from './certificate.ts';
import type { CertificateEvent } from './events.ts';
import { createRenewer } from './renewer.ts';
import type { Renewer, RenewerOptions } from './renewer.ts';
import type { Managed, Source } from './sources/source.ts';
import type { SiteConfig } from '../config/config.ts';
import { createLogger } from '../log.ts';
import { eventually } from '../../test/support/eventually.ts';

const DAY = 86_400_000;

function site(name: string, hosts: readonly string[] = [name]): SiteConfig {
  return {
    name,
    hosts,
    tls: { mode: 'acme' },
    redirectHttps: true,
    routes: [],
    maxBodySize: 0,
    errorPages: {},
    headers: { request: { set: {}, remove: [] }, response: { set: {}, remove: [] } },
    hsts: { maxAgeSeconds: null, includeSubdomains: false, preload: false },
  };
}

function certificate(serial: string, names: readonly string[], leftShare = 1): Certificate {
  const notAfter = Date.now() + 90 * DAY * leftShare;
  return { names, chain: '', key: '', serial, notBefore: notAfter - 90 * DAY, notAfter };
}

interface Scene extends Disposable {
  readonly renewer: Renewer;
  readonly events: CertificateEvent[];
  readonly published: Parameters<RenewerOptions['publish']>[];
  /** What is kept by name. */
  readonly kept: Map<string, Certificate>;
  /** Names that are due. */
  readonly due: Set<string>;
  readonly log: string[];
  /** What a client is shown. */
  served: string | null | undefined;
  renewals: number;
  fails: boolean;
  /** What renews throws, as nothing should. */
  throws: boolean;
}

function setUp(sites: readonly SiteConfig[]): Scene {
  const stopping = new AbortController();
  const current = new Map<string, string>();
  const source: Source = {
    load: async (item) => {
      item.certificate = scene.kept.get(item.name) ?? null;
      current.set(item.name, item.certificate?.serial ?? '');
    },
    changed: async ({ name }) => (scene.kept.get(name)?.serial ?? '') !== current.get(name),
    decide: ({ name, certificate, attempts }) => {
      const at = attempts !== null ? Infinity : certificate === null || scene.due.has(name) ? 0 : Infinity;
      return { dueAt: at, attemptAt: at, reason: 'ratio', exempt: false };
    },
    renew: async (item) => {
      scene.renewals++;
      await new Promise(setImmediate);
      const { name, hosts } = item;
      if (scene.throws) throw new Error('the storage threw');
      if (scene.fails) {
        const fixed = { code: 5, retryAt: null, needsOperator: false, wish: '' };
        item.attempts = { failures: 1, lastAttemptAt: Date.now(), error: 'refused', ...fixed };
        return { name, outcome: 'failed', code: 5, reason: 'refused' };
      }
      const next = certificate(`${scene.renewals}`, hosts);
      scene.kept.set(name, next);
      current.set(name, next.serial);
      scene.due.delete(name);
      item.certificate = next;
      return { name, outcome: 'renewed', code: 0, serial: next.serial };
    },
  };
  const scene: Omit<Scene, 'renewer'> & { renewer?: Renewer } = {
    events: [],
    published: [],
    kept: new Map(),
    due: new Set(),
    log: [],
    served: undefined,
    renewals: 0,
    fails: false,
    throws: false,
    [Symbol.dispose]: () => stopping.abort(),
  };
  const renewer = createRenewer({
    sites,
    sources: { acme: source, internal: source, files: source },
    askCa: async (item: Managed) => void (item.ariPollAt = Infinity),
    publish: async (...part) => void scene.published.push(part),
    servedLeaf: () =>
      Promise.resolve(typeof scene.served === 'string' ? { serial: scene.served, notAfter: 7 } : scene.served),
    onEvent: (event) => scene.events.push(event),
    stateDirectory: '/nowhere',
    log: createLogger({ level: 'debug', format: 'json', write: (line) => scene.log.push(line) }),
    signal: stopping.signal,
  });
  return Object.assign(scene, { renewer });
}

const types = ({ events }: Scene): string[] => events.map(({ type }) => type);

test('what is missing is obtained, published and looked at from outside', async () => {
  using scene = setUp([site('a.example')]);
  scene.served = '1';
  await scene.renewer.load({ issue: true });
  assert.match(scene.published[0]?.[1]['a.example'] ?? '', /being obtained/);
  scene.renewer.start();
  await eventually(() => scene.renewer.status()[0]?.servedSerial === '1');
  const [entries, pending] = scene.published.at(-1) ?? [];
  assert.deepEqual(
    entries?.map(({ id, names }) => [id, names]),
    [['acme/a.example/1', ['a.example']]],
  );
  assert.deepEqual(pending, {});
  assert.deepEqual(types(scene), ['obtained']);
});

test('a renewal that throws is told once, tried again by who asks, and keeps no other from being renewed', async () => {
  using scene = setUp([site('a.example'), site('b.example')]);
  scene.kept.set('b.example', certificate('b', ['b.example']));
  scene.throws = true;
  await scene.renewer.load({ issue: true });
  scene.renewer.start();
  const defects = (): number => scene.log.filter((line) => line.includes('"event":"defect"')).length;
  await eventually(() => defects() === 1);
  scene.throws = false;
  scene.due.add('b.example');
  await scene.renewer.reload();
  await eventually(() => types(scene).includes('obtained'));
  assert.equal(scene.renewals, 2);
  assert.equal(defects(), 1);
  const { results } = await scene.renewer.renew({ names: ['a.example'], force: false });
  assert.deepEqual(
    results.map(({ outcome }) => outcome),
    ['renewed'],
  );
});

test('clients that are shown another certificate, or none, are an alarm', async () => {
  for (const served of ['old', null]) {
    using scene = setUp([site('a.example')]);
    scene.served = served;
    await scene.renewer.load({ issue: true });
    scene.renewer.start();
    await eventually(() => types(scene).includes('not_served'));
    assert.equal(scene.renewer.status()[0]?.servedSerial, served);
    assert.equal(scene.renewer.status()[0]?.servedNotAfter, served === null ? null : 7);
    assert.ok(scene.log.some((line) => line.includes('"level":"error"') && line.includes('certificate_not_served')));
  }
});

test('a failure takes nothing away, and says when it goes on', async () => {
  using scene = setUp([site('a.example'), site('b.example')]);
  scene.kept.set('a.example', certificate('old', ['a.example']));
  scene.due.add('a.example');
  scene.fails = true;
  await scene.renewer.load({ issue: true });
  scene.renewer.start();
  await eventually(() => scene.events.length === 2);
  const [entries, pending] = scene.published.at(-1) ?? [];
  assert.deepEqual(
    entries?.map(({ id }) => id),
    ['acme/a.example/old'],
  );
  assert.match(pending?.['b.example'] ?? '', /refused/);
  assert.equal(scene.renewals, 2);
});

test('a renewal that is going on is joined', async () => {
  using scene = setUp([site('a.example')]);
  await scene.renewer.load({ issue: true });
  const reports = await Promise.all([1, 2, 3].map(() => scene.renewer.renew({ names: [], force: true })));
  assert.equal(scene.renewals, 1);
  assert.deepEqual(
    reports.map(({ exitCode }) => exitCode),
    [0, 0, 0],
  );
});

test('names that were added wait for their certificate, the others are served meanwhile', async () => {
  using scene = setUp([site('a.example', ['a.example', 'new.example', 'x.wild.example'])]);
  scene.kept.set('a.example', certificate('old', ['a.example', '*.wild.example', 'gone.example']));
  await scene.renewer.load({ issue: false });
  const [entries, pending] = scene.published.at(-1) ?? [];
  assert.deepEqual(
    entries?.map(({ names }) => names),
    [['a.example', 'x.wild.example']],
  );
  assert.deepEqual(Object.keys(pending ?? {}), ['new.example']);
});

test('what another instance put there is taken up within seconds', async () => {
  using scene = setUp([site('a.example')]);
  scene.kept.set('a.example', certificate('old', ['a.example']));
  await scene.renewer.load({ issue: true });
  scene.renewer.start();
  scene.kept.set('a.example', certificate('new', ['a.example']));
  await eventually(() => scene.published.at(-1)?.[0][0]?.id === 'acme/a.example/new', { withinMs: 5_000 });
  assert.deepEqual(types(scene), ['taken_up']);
  assert.equal(scene.renewals, 0);
});

test('a certificate with little left is told of once for each step', async () => {
  using scene = setUp([site('a.example'), site('b.example')]);
  scene.kept.set('a.example', certificate('1', ['a.example'], 0.1));
  scene.kept.set('b.example', certificate('2', ['b.example'], -0.1));
  await scene.renewer.load({ issue: true });
  scene.renewer.start();
  await eventually(() => scene.events.length === 2);
  const levels = scene.events.map((event) => (event.type === 'expiring' ? event.level : event.type));
  assert.deepEqual(levels, ['high', 'expired']);
  const [entries] = scene.published.at(-1) ?? [];
  assert.equal(entries?.length, 2, 'an expired one is better than none');
});

test('sites that come and go take their certificates with them, the others stay untouched', async () => {
  using scene = setUp([site('a.example'), site('b.example')]);
  for (const name of ['a.example', 'b.example', 'c.example']) scene.kept.set(name, certificate(name, [name]));
  await scene.renewer.load({ issue: true });
  const before = scene.renewer.find('b.example');
  await scene.renewer.setSites([site('b.example'), site('c.example')]);
  assert.equal(scene.renewer.find('b.example'), before);
  assert.deepEqual(
    scene.published.at(-1)?.[0].map(({ id }) => id),
    ['acme/b.example/b.example', 'acme/c.example/c.example'],
  );
  const { results } = await scene.renewer.renew({ names: ['a.example', 'c.example'], force: false });
  assert.deepEqual(
    results.map(({ outcome }) => outcome),
    ['failed', 'not_due'],
  );
});
