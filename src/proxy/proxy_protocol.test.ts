import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProxyHeader } from './proxy_protocol.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';

function v2(command: string, family: string, payload: string): Buffer {
  const length = (payload.length / 2).toString(16).padStart(4, '0');
  return Buffer.from(`${SIGNATURE}${command}${family}${length}${payload}`, 'hex');
}

const VALID: readonly (readonly [what: string, bytes: Buffer, source: string | null])[] = [
  ['version 1, IPv4', Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 56324 443\r\n'), '203.0.113.5'],
  ['version 1, IPv6', Buffer.from('PROXY TCP6 2001:db8::1 ::1 56324 443\r\n'), '2001:db8::1'],
  ['version 1, unknown', Buffer.from('PROXY UNKNOWN\r\n'), null],
  ['version 1, unknown with addresses', Buffer.from('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), null],
  ['version 2, IPv4', v2('21', '11', 'cb0071050a000001dc0401bb'), '203.0.113.5'],
  ['version 2, IPv4 with extensions', v2('21', '11', 'cb0071050a000001dc0401bb0300041234abcd'), '203.0.113.5'],
  ['version 2, IPv6', v2('21', '21', `20010db8${'0'.repeat(23)}1${'0'.repeat(31)}1dc0401bb`), '2001:db8::1'],
  ['version 2, local', v2('20', '00', ''), null],
  ['version 2, a Unix socket', v2('21', '31', '00'.repeat(216)), null],
];

for (const [what, bytes, source] of VALID) {
  test(`reads ${what}, however it is cut`, () => {
    const whole = parseProxyHeader(Buffer.concat([bytes, Buffer.from('GET / HTTP/1.1\r\n')]));
    assert.ok(typeof whole === 'object');
    assert.deepEqual([whole.length, whole.source], [bytes.length, source]);
    for (let i = 0; i < bytes.length; i++) assert.equal(parseProxyHeader(bytes.subarray(0, i)), 'incomplete', `${i}`);
  });
}

test('refuses what is no header', () => {
  const wrong = [
    Buffer.from('GET / HTTP/1.1\r\n'),
    Buffer.from('\x16\x03\x01\x02\x00'),
    Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 56324\r\n'),
    Buffer.from('PROXY TCP4 2001:db8::1 ::1 1 2\r\n'),
    Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 99999 443\r\n'),
    Buffer.from('PROXY TCP4 203.0.113.5  10.0.0.1 1 443\r\n'),
    Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 1 443\n'.padEnd(120)),
    Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}\r\n`),
    v2('31', '11', 'cb0071050a000001dc0401bb'),
    v2('22', '11', 'cb0071050a000001dc0401bb'),
    v2('21', '11', 'cb0071'),
    v2('21', '11', '00'.repeat(5000)),
  ];
  for (const bytes of wrong) assert.equal(parseProxyHeader(bytes), 'invalid', bytes.toString('latin1'));
});
