import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDnsLookup } from './dns_lookup.ts';
import { startBind } from '../../../test/support/bind.ts';
import { freePort } from '../../../test/support/daemon.ts';

const ZONES = {
  'example.test': `
ns1 IN AAAA ::1
@ IN NS ns2.example.test.
ns2 IN A 192.0.2.53
text IN TXT "in two " "pieces"
text IN TXT "another"
alias IN CNAME Further
further IN CNAME text
c0 IN CNAME c1
c1 IN CNAME c2
c2 IN CNAME c3
c3 IN CNAME c4
c4 IN CNAME c5
c5 IN CNAME c6
c6 IN CNAME c7
c7 IN CNAME c8
c8 IN CNAME text`,
  'sub.example.test': '',
};

test('follows a name through its CNAMEs, but not for ever', async () => {
  await using bind = await startBind({ zones: ZONES });
  const lookup = createDnsLookup({ resolvers: [bind.address] });
  assert.equal(await lookup.follow('nothing.example.test'), 'nothing.example.test');
  assert.equal(await lookup.follow('alias.example.test'), 'text.example.test');
  assert.equal(await lookup.follow('c1.example.test'), 'text.example.test');
  await assert.rejects(lookup.follow('c0.example.test'), { code: 'CNAME_LOOP' });
});

test('knows the closest zone that has a name, and its name servers by both families', async () => {
  await using bind = await startBind({ zones: ZONES });
  const lookup = createDnsLookup({ resolvers: [bind.address] });
  assert.equal(await lookup.zoneOf('_acme-challenge.a.b.example.test'), 'example.test');
  assert.equal(await lookup.zoneOf('_acme-challenge.sub.example.test'), 'sub.example.test');
  assert.equal(await lookup.zoneOf('a.elsewhere.test'), null);
  const found = (await lookup.nameServers('example.test')).map(({ name, address }) => `${name} ${address}`);
  assert.deepEqual(found.toSorted(), [
    'ns1.example.test 127.0.0.1',
    'ns1.example.test ::1',
    'ns2.example.test 192.0.2.53',
  ]);
  assert.deepEqual(await lookup.nameServers('elsewhere.test'), []);
});

test('a record that is not there is an answer; a server that does not answer, or fails, is told apart', async () => {
  await using bind = await startBind({ zones: ZONES });
  const server = { name: 'ns1.example.test', address: '127.0.0.1' };
  const lookup = createDnsLookup({ resolvers: [], port: bind.port });
  const shown = await lookup.txt('text.example.test', server);
  assert.ok(shown.state === 'answered');
  assert.deepEqual(shown.values.toSorted(), ['another', 'in two pieces']);
  assert.deepEqual(await lookup.txt('nothing.example.test', server), { state: 'answered', values: [] });
  assert.deepEqual(await lookup.txt('ns1.example.test', server), { state: 'answered', values: [] });
  assert.equal((await lookup.txt('a.elsewhere.test', server)).state, 'failed');
  const nobody = createDnsLookup({ resolvers: [], port: await freePort() });
  assert.equal((await nobody.txt('text.example.test', server)).state, 'unreachable');
});
