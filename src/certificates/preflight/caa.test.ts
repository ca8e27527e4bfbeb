import assert from 'node:assert/strict';
import { test } from 'node:test';
import { caaNames, judgeCaa, parseIssueValue } from './caa.ts';
import type { CaaInput, CaaRecord } from './caa.ts';

const record = (tag: string, value: string, critical = false): CaaRecord => ({ tag, value, critical });
const judge = (records: readonly CaaRecord[], more: Partial<CaaInput> = {}): string => {
  const input = { wildcard: false, identities: ['ca.example'], accountUrl: null, methods: ['http-01'] } as const;
  const verdict = judgeCaa({ records, ...input, ...more });
  return verdict.ok ? 'ok' : verdict.code;
};

test('names are climbed to the top-level domain, a wildcard from the name below it', () => {
  assert.deepEqual(caaNames('*.a.example.com'), ['a.example.com', 'example.com', 'com']);
});

test('only issue and issuewild restrict who may issue', () => {
  assert.equal(judge([]), 'ok');
  assert.equal(judge([record('iodef', 'mailto:x@example.com'), record('contactemail', 'x@example.com')]), 'ok');
  assert.equal(judge([record('issue', 'other.example')]), 'caa_issue_forbids');
  assert.equal(judge([record('issue', ';')]), 'caa_issue_forbids');
  assert.equal(judge([record('issue', '')]), 'caa_issue_forbids');
  assert.equal(judge([record('issue', 'other.example'), record('issue', ' CA.Example ; x=y')]), 'ok');
});

test('issuewild is all that counts for a wildcard, and nothing for another name', () => {
  const both = [record('issue', 'ca.example'), record('issuewild', ';')];
  assert.equal(judge(both), 'ok');
  assert.equal(judge(both, { wildcard: true, methods: ['dns-01'] }), 'caa_issuewild_forbids');
  assert.equal(judge([record('issue', ';'), record('issuewild', 'ca.example')], { wildcard: true }), 'ok');
  assert.equal(judge([record('issue', ';')], { wildcard: true }), 'caa_issue_forbids');
  assert.equal(judge([record('issuewild', ';')]), 'ok');
});

test('a critical tag nobody knows forbids everything, one that is not critical nothing', () => {
  assert.equal(judge([record('issue', 'ca.example'), record('future', 'x', true)]), 'caa_unknown_critical');
  assert.equal(judge([record('issue', 'ca.example', true), record('future', 'x')]), 'ok');
});

test('accounturi lets in exactly that account, and another record may let in another', () => {
  const ours = 'https://ca.example/acct/7';
  const bound = [record('issue', `ca.example; accounturi=${ours}`)];
  assert.equal(judge(bound, { accountUrl: ours }), 'ok');
  assert.equal(judge(bound, { accountUrl: `${ours}1` }), 'caa_accounturi');
  assert.equal(judge(bound), 'caa_accounturi', 'an account that is yet to be made cannot be named already');
  assert.equal(judge([...bound, record('issue', 'ca.example')]), 'ok');
});

test('validationmethods lets in the ways it lists', () => {
  const listed = [record('issue', 'ca.example; validationmethods=dns-01,tls-alpn-01')];
  assert.equal(judge(listed), 'caa_validationmethods');
  assert.equal(judge(listed, { methods: ['http-01', 'tls-alpn-01'] }), 'ok');
  // RFC 8657: each record is judged alone; two that allow half each allow nothing.
  const halves = [
    record('issue', 'ca.example; accounturi=https://ca.example/acct/7; validationmethods=dns-01'),
    record('issue', 'ca.example; accounturi=https://ca.example/acct/8; validationmethods=http-01'),
  ];
  assert.equal(judge(halves, { accountUrl: 'https://ca.example/acct/7' }), 'caa_validationmethods');
});

test('a value that is malformed lets nobody in', () => {
  for (const value of ['ca.example; accounturi', 'ca.example; a=1; a=2', 'ca example', 'ca.example; ö=1']) {
    assert.equal(parseIssueValue(value), null, value);
    assert.equal(judge([record('issue', value)]), 'caa_issue_forbids', value);
  }
});
