/** A certificate nobody has signed but itself, for an upstream that is to be trusted by it. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { run } from './processes.ts';

export interface CertificateFiles {
  readonly key: string;
  readonly certificate: string;
}

export async function createSelfSigned(folder: string, name: string, file = name): Promise<CertificateFiles> {
  const [key, certificate] = [path.join(folder, `${file}.key`), path.join(folder, `${file}.pem`)];
  const made = await run('openssl', [
    ...`req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=${name}`.split(' '),
    '-addext',
    `subjectAltName=DNS:${name}`,
    '-keyout',
    key,
    '-out',
    certificate,
  ]);
  assert.equal(made.code, 0, made.stderr);
  return { key, certificate };
}
