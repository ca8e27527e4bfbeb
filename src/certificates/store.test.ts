import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { openInternalCa } from './internal_ca.ts';
import { createFileStorage } from './storage/file_storage.ts';
import { createMemoryStorage } from './storage/memory_storage.ts';
import type { Storage } from './storage/storage.ts';
import { createCertificateStore, issuerSlug, StorageError } from './store.ts';
import type { CertificateMeta, CertificateStore } from './store.ts';

const DAY = 86_400_000;
const META: CertificateMeta = {
  ca: 'https://ca.example/directory',
  orderUrl: 'https://ca.example/order/1',
  profile: 'classic',
  keyType: 'p256',
  certId: 'a.b',
  obtainedAt: 1,
};

let folder = '';
let at = '';
let store: CertificateStore;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-store-'));
  at = path.join(folder, 'certificates/ca/a.internal');
  store = createCertificateStore(createFileStorage(folder));
});
afterEach(() => rmSync(folder, { recursive: true }));

const ca = await openInternalCa(createMemoryStorage(), Date.now());

function issue(name = 'a.internal', when = Date.now()): Certificate {
  return ca.issue([name], when);
}

/** Saves so many, and returns them. */
async function saved(count: number): Promise<Certificate[]> {
  const all = Array.from({ length: count }, () => issue());
  for (const one of all) await store.save('ca', 'a.internal', one, META);
  return all;
}

/** Generations and what was put aside, without the moment of that. */
function kept(): string[] {
  return readdirSync(at)
    .map((name) => name.replace(/\d{13}$/, '…'))
    .toSorted();
}

test('gives back what was saved last, with its meta data, and keeps three generations', async () => {
  const latest = (await saved(5)).at(-1);
  assert.deepEqual(await store.load('ca', 'a.internal'), { certificate: latest, meta: META, problems: [] });
  assert.deepEqual(kept(), ['current', 'g-3', 'g-4', 'g-5']);
  assert.equal(readlinkSync(path.join(at, 'current')), 'g-5');
  assert.equal(statSync(path.join(at, 'g-5/key.pem')).mode & 0o777, 0o600);
  assert.equal(statSync(at).mode & 0o777, 0o700);
});

test('nothing kept is no problem', async () => {
  assert.deepEqual(await store.load('ca', 'a.internal'), { certificate: null, meta: null, problems: [] });
});

const DAMAGES: Readonly<Record<string, () => Promise<void> | void>> = {
  'a torn certificate': () => writeFileSync(path.join(at, 'g-2/chain.pem'), 'torn'),
  'a certificate cut in its middle': () => {
    const file = path.join(at, 'g-2/chain.pem');
    writeFileSync(file, readFileSync(file, 'latin1').slice(0, -200));
  },
  'an empty key': () => writeFileSync(path.join(at, 'g-2/key.pem'), ''),
  'no key': () => rmSync(path.join(at, 'g-2/key.pem')),
  "another certificate's key": () => writeFileSync(path.join(at, 'g-2/key.pem'), issue().key),
  'torn meta data': () => writeFileSync(path.join(at, 'g-2/meta.json'), '{"sha'),
  'another certificate with its key': () => {
    const other = issue();
    writeFileSync(path.join(at, 'g-2/chain.pem'), other.chain);
    writeFileSync(path.join(at, 'g-2/key.pem'), other.key);
  },
};
for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`${what}: the generation before is served, the damaged one put aside and told of once`, async () => {
    const [first, second] = await saved(2);
    await damage();
    const { certificate, problems } = await store.load('ca', 'a.internal');
    assert.equal(certificate?.serial, first?.serial);
    assert.match(problems.join(), /ca\/a\.internal\/g-2: /);
    assert.deepEqual(kept(), ['current', 'g-1', 'g-2.corrupt-…']);
    assert.equal(readlinkSync(path.join(at, 'current')), 'g-1');
    assert.deepEqual((await store.load('ca', 'a.internal')).problems, []);
    assert.ok(second !== undefined);
    await store.save('ca', 'a.internal', second, META);
    assert.deepEqual(kept(), ['current', 'g-1', 'g-2.corrupt-…', 'g-3'], 'its number is not given again');
  });
}

test('a pointer that leads nowhere: the newest good generation is served, and becomes current', async () => {
  const [first] = await saved(2);
  rmSync(path.join(at, 'g-2'), { recursive: true });
  const { certificate, problems } = await store.load('ca', 'a.internal');
  assert.equal(certificate?.serial, first?.serial);
  assert.match(problems.join(), /current leads to g-2, which is not there/);
  assert.equal(readlinkSync(path.join(at, 'current')), 'g-1');
});

test('with every generation damaged there is none, and what is left is put aside', async () => {
  await saved(2);
  for (const generation of ['g-1', 'g-2']) writeFileSync(path.join(at, generation, 'chain.pem'), '');
  const { certificate, problems } = await store.load('ca', 'a.internal');
  assert.equal(certificate, null);
  assert.equal(problems.length, 2);
  assert.deepEqual(kept(), ['g-1.corrupt-…', 'g-2.corrupt-…']);
  assert.deepEqual(await store.load('ca', 'a.internal'), { certificate: null, meta: null, problems: [] });
});

test('a certificate that only lost its meta data is served when there is no other, or only an expired one', async () => {
  await store.save('ca', 'a.internal', issue('a.internal', Date.now() - 200 * DAY), META);
  const [current] = await saved(1);
  writeFileSync(path.join(at, 'g-2/meta.json'), '');
  const { certificate, meta, problems } = await store.load('ca', 'a.internal');
  assert.equal(certificate?.serial, current?.serial);
  assert.equal(meta, null);
  assert.match(problems.join(), /meta\.json is damaged/);
  assert.ok(existsSync(path.join(at, 'g-2')));
});

test('an expired certificate is given back: it is better than none', async () => {
  const expired = issue('a.internal', Date.now() - 200 * DAY);
  await store.save('ca', 'a.internal', expired, META);
  assert.equal((await store.load('ca', 'a.internal')).certificate?.serial, expired.serial);
});

test('whenever its writer is stopped, a save leaves the old certificate or the new one', async () => {
  const [first] = await saved(1);
  const second = issue();
  for (let steps = 0; ; steps++) {
    let left = steps;
    const storage = createFileStorage(folder);
    const stopping = <A extends readonly unknown[]>(run: (...args: A) => Promise<void>) => {
      return (...args: A): Promise<void> => (left-- > 0 ? run(...args) : Promise.reject(new Error('stopped')));
    };
    const stopped: Storage = {
      ...storage,
      write: stopping(storage.write),
      point: stopping(storage.point),
      // The dead tidy nothing up.
      remove: stopping(() => Promise.reject(new Error('stopped'))),
    };
    const whole = await createCertificateStore(stopped)
      .save('ca', 'a.internal', second, META)
      .then(() => true)
      .catch(() => false);
    const { certificate, problems } = await store.load('ca', 'a.internal');
    assert.equal(certificate?.serial, whole ? second.serial : first?.serial);
    assert.deepEqual(problems, []);
    if (whole) break;
  }
});

test('a storage that cannot be read is not taken for an empty one', async () => {
  await saved(1);
  const storage = createFileStorage(folder);
  const away: Storage = { ...storage, read: () => Promise.reject(new StorageError('the state folder is away')) };
  await assert.rejects(createCertificateStore(away).load('ca', 'a.internal'), /away/);
  const [listed] = await createCertificateStore(away).list();
  assert.match(listed?.problems.join() ?? '', /g-1: the state folder is away/);
  assert.deepEqual(kept(), ['current', 'g-1'], 'and nothing is put aside');
});

test('no name leads out of the folder', async () => {
  for (const name of ['../x', 'a/b', '.', '..', '']) {
    await assert.rejects(store.save('ca', name, issue(), null), StorageError, name);
  }
  await store.save('ca', '*.a.internal', issue(), null);
  assert.ok(readdirSync(path.join(folder, 'certificates/ca')).includes('_wildcard.a.internal'));
});

test('the longest of DNS names has a place of its own', async () => {
  const labels = Array.from({ length: 3 }, () => 'a'.repeat(63)).join('.');
  const names = [`*.${labels}.${'b'.repeat(57)}`, `*.${labels}.${'c'.repeat(57)}`];
  for (const name of names) await store.save('ca', name, issue(name.slice(2)), null);
  assert.deepEqual((await store.list()).map(({ name }) => name).toSorted(), names.toSorted());
  for (const name of names) assert.equal((await store.load('ca', name)).certificate?.names[0], name.slice(2));
});

test('remembers what must outlive a restart, until it is over', async () => {
  const state = { failures: 2, error: 'no', ari: { start: 1 } };
  await store.saveState('ca', 'a.internal', state);
  assert.deepEqual(await createCertificateStore(createFileStorage(folder)).loadState('ca', 'a.internal'), state);
  await store.saveState('ca', 'a.internal', null);
  assert.equal(await store.loadState('ca', 'a.internal'), null);
  await store.storage.write('certificates/ca/a.internal/state.json', '[torn');
  assert.equal(await store.loadState('ca', 'a.internal'), null);
});

test('two CAs never share a folder, nor does one take the certificate of another', async () => {
  const [production, staging] = [
    'https://acme-v02.api.letsencrypt.org/directory',
    'https://acme-staging-v02.api.letsencrypt.org/directory',
  ].map(issuerSlug);
  assert.equal(production, 'acme-v02.api.letsencrypt.org-directory');
  assert.notEqual(issuerSlug('https://localhost:1/dir'), issuerSlug('https://localhost:2/dir'));
  const [real, trial] = [issue(), issue()];
  await store.save(production ?? '', 'a.internal', real, META);
  assert.equal((await store.load(staging ?? '', 'a.internal')).certificate, null);
  await store.save(staging ?? '', 'a.internal', trial, META);
  assert.equal((await store.load(production ?? '', 'a.internal')).certificate?.serial, real.serial);
  assert.equal((await store.load(staging ?? '', 'a.internal')).certificate?.serial, trial.serial);
});

test('lists everything that is kept, damage included, and changes nothing', async () => {
  await saved(2);
  await store.save('other', '*.b.internal', issue('b.internal'), null);
  await store.saveState('other', 'never.obtained', { failures: 1 });
  writeFileSync(path.join(at, 'g-2/chain.pem'), 'torn');
  const before = readdirSync(folder, { recursive: true });
  const listed = await store.list();
  assert.deepEqual(
    listed.map(({ issuer, name, meta, problems }) => [issuer, name, meta?.profile ?? null, problems.length]),
    [
      ['other', '*.b.internal', null, 0],
      ['ca', 'a.internal', 'classic', 1],
    ],
  );
  assert.deepEqual(readdirSync(folder, { recursive: true }), before);
});

test('cleans what expired 90 days ago and nobody wants, and what was put aside as long ago', async () => {
  const now = Date.now();
  await store.save('ca', 'gone.internal', issue('gone.internal', now - 181 * DAY), META);
  await store.save('ca', 'wanted.internal', issue('wanted.internal', now - 181 * DAY), META);
  await store.save('ca', 'recent.internal', issue('recent.internal', now - 100 * DAY), META);
  await saved(2);
  writeFileSync(path.join(at, 'g-2/chain.pem'), 'torn');
  await store.load('ca', 'a.internal', now);
  const isWanted = (_: string, name: string): boolean => name === 'wanted.internal' || name === 'a.internal';
  assert.deepEqual(await store.clean(now, isWanted), ['certificates/ca/gone.internal']);
  assert.deepEqual(await store.clean(now, isWanted), []);
  assert.deepEqual(readdirSync(path.dirname(at)).toSorted(), ['a.internal', 'recent.internal', 'wanted.internal']);
  assert.deepEqual(
    (await store.clean(now + 90 * DAY, isWanted)).map((key) => key.replace(/\d{13}$/, '…')),
    ['certificates/ca/recent.internal', 'certificates/ca/a.internal/g-2.corrupt-…'],
  );
});

test('a certificate with another key, or a chain in disorder, is refused', () => {
  const [a, b] = [issue(), issue()];
  assert.throws(() => parseCertificate(a.chain, b.key), /not the certificate/);
  const [leaf = '', root = ''] = a.chain.split(/(?<=-----END CERTIFICATE-----\n)/);
  assert.throws(() => parseCertificate(leaf + leaf + root, a.key), /not in order/);
  assert.throws(() => parseCertificate('', a.key), /no certificate/);
});
