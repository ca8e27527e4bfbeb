import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCertificate, splitChain } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { openInternalCa } from './internal_ca.ts';
import { createMemoryStorage } from './storage/memory_storage.ts';
import { verifyIssued } from './verify.ts';

const now = Date.now();
const HOUR = 3_600_000;
const NAMES = ['a.example', '*.a.example', '10.0.0.1', '2001:db8::1'];
const ca = await openInternalCa(createMemoryStorage(), now);
const issued = ca.issue(NAMES, now);

function refusal(certificate: Certificate, changes: Partial<Parameters<typeof verifyIssued>[1]> = {}): string {
  try {
    verifyIssued(certificate, { names: NAMES, key: issued.key, now, ...changes });
    return 'accepted';
  } catch (error) {
    return error instanceof Error && 'code' in error ? `${String(error.code)}: ${error.message}` : String(error);
  }
}

test('takes what was ordered, whatever the order of its names', () => {
  assert.equal(refusal(issued), 'accepted');
  assert.equal(refusal(issued, { names: NAMES.toReversed() }), 'accepted');
});

test('refuses names that are missing, and names nobody asked for', () => {
  assert.match(refusal(issued, { names: [...NAMES, 'b.example'] }), /^wrong_names: .*it lacks b\.example/);
  assert.match(refusal(issued, { names: NAMES.slice(1) }), /^wrong_names: .*nobody asked for a\.example/);
});

test('refuses a certificate for another key', () => {
  const other = ca.issue(NAMES, now);
  assert.match(refusal(other), /^key_mismatch: /);
  assert.match(refusal({ ...issued, key: other.key }), /^key_mismatch: /);
});

test('refuses dates that are not now, and asks about the clock', () => {
  assert.match(refusal(issued, { now: issued.notAfter }), /^not_valid_now: .*was valid until .*clock/);
  assert.match(refusal(issued, { now: issued.notBefore - HOUR - 1 }), /^not_valid_now: .*valid from .*clock/);
  assert.equal(refusal(issued, { now: issued.notBefore - HOUR }), 'accepted', 'clocks differ by so much');
});

test('refuses a chain whose links do not hold, though their names do', async () => {
  // The same name and another key, as after a root was made anew.
  const double = (await openInternalCa(createMemoryStorage(), now)).issue(NAMES, now);
  const [leaf = ''] = splitChain(issued.chain);
  const [, otherRoot = ''] = splitChain(double.chain);
  assert.match(refusal({ ...issued, chain: `${leaf}\n${otherRoot}` }), /^incomplete_chain: .*was not issued by/);
});

test('refuses a certificate that came without its issuer, unless a root we trust issued it', () => {
  const [leaf = '', root = ''] = splitChain(issued.chain);
  const alone = parseCertificate(leaf, issued.key);
  assert.match(refusal(alone), /^incomplete_chain: the certificate came alone/);
  assert.equal(refusal(alone, { roots: [root] }), 'accepted');
  assert.match(refusal(alone, { roots: [leaf] }), /^incomplete_chain/);
});

test('what is cut off or no certificate at all is not even read', () => {
  assert.throws(
    () => parseCertificate(issued.chain.slice(0, -100), issued.key),
    /cannot be read: .*cut off|cannot be read/,
  );
  assert.throws(() => parseCertificate('<html>busy</html>', issued.key), /no certificate/);
});
