/** tls-alpn-01 (RFC 8737): a certificate that only those see who speak `acme-tls/1` to a TLS port. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import net from 'node:net';
import {
  addressBytes,
  bitString,
  distinguishedName,
  explicit,
  extension,
  generalName,
  integer,
  octetString,
  OID,
  oid,
  sequence,
  serialNumber,
  spki,
  time,
  toDer,
  toPem,
} from '../der.ts';
import { hang, unhang } from './answers.ts';
import type { AnswerOptions } from './answers.ts';
import type { Challenge, Identifier, Solver } from './solver.ts';

/** Around now; nobody is to check it, and clocks differ. */
const VALID_MS = 24 * 3_600_000;

export function createTlsAlpn01(options: AnswerOptions): Solver {
  /** What was armed, by key authorization: to take away exactly that. */
  const armed = new Map<string, string>();
  return {
    type: 'tls-alpn-01',
    solves: (_identifier, wildcard) => !wildcard,
    arm: async ({ identifier, keyAuthorization }, signal) => {
      const pem = armed.get(keyAuthorization) ?? challengeCertificate(identifier.value, keyAuthorization, Date.now());
      armed.set(keyAuthorization, pem);
      await hang(options, 'tls-alpn-01', serverNameOf(identifier), pem, signal);
    },
    disarm: async ({ identifier, keyAuthorization }: Challenge) => {
      const pem = armed.get(keyAuthorization);
      if (pem === undefined) return;
      armed.delete(keyAuthorization);
      await unhang(options, 'tls-alpn-01', serverNameOf(identifier), pem);
    },
  };
}

/** The name a CA puts into its hello: no address may stand there, so RFC 8738 section 6 has its name of reverse DNS. */
export function serverNameOf({ type, value }: Identifier): string {
  if (type === 'dns') return value;
  const bytes = addressBytes(value);
  return net.isIPv4(value)
    ? `${[...bytes].toReversed().join('.')}.in-addr.arpa`
    : `${[...bytes.toString('hex')].toReversed().join('.')}.ip6.arpa`;
}

/**
 * PEM of a certificate and its key. RFC 8737 section 3 and what Let's Encrypt makes of it: signed by itself, the name as
 * its only alternative name, a critical acmeIdentifier with the key authorization's SHA-256.
 */
export function challengeCertificate(name: string, keyAuthorization: string, now: number): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const digest = createHash('sha256').update(keyAuthorization).digest();
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  // The name itself may be longer than a common name can be.
  const subject = distinguishedName('ACME challenge');
  const tbs = sequence(
    explicit(0, integer('\x02')),
    integer(serialNumber()),
    algorithm,
    subject,
    sequence(time(now - VALID_MS), time(now + VALID_MS)),
    subject,
    spki(publicKey),
    explicit(
      3,
      sequence(
        extension(OID.subjectAltName, false, sequence(generalName(name))),
        extension(OID.acmeIdentifier, true, octetString(digest)),
      ),
    ),
  );
  const der = toDer(sequence(tbs, algorithm, bitString(sign('sha256', toDer(tbs), privateKey))));
  return toPem(der) + String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
}
