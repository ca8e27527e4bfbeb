/** Private keys and the request to certify one. */
import { createPrivateKey, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { KeyType } from '../../config/config.ts';

const generate = promisify(generateKeyPair);

/** PEM, PKCS#8: the only form acme-client's requests can be signed with. */
export async function createKey(type: KeyType): Promise<string> {
  const privateKey = await make(type);
  return String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

async function make(type: KeyType): Promise<ReturnType<typeof createPrivateKey>> {
  switch (type) {
    case 'p256':
      return (await generate('ec', { namedCurve: 'P-256' })).privateKey;
    case 'p384':
      return (await generate('ec', { namedCurve: 'P-384' })).privateKey;
    case 'rsa2048':
      return (await generate('rsa', { modulusLength: 2048 })).privateKey;
    case 'rsa4096':
      return (await generate('rsa', { modulusLength: 4096 })).privateKey;
  }
}

/** A certificate signing request, as RFC 8555 section 7.4 wants it: base64url of its DER. */
export async function createRequest(names: readonly string[], key: string): Promise<string> {
  const { crypto } = await import('acme-client');
  const pkcs8 = String(createPrivateKey(key).export({ type: 'pkcs8', format: 'pem' }));
  // Without a common name: it holds 64 characters, and CAs read the alternative names.
  const [, request] = await crypto.createCsr({ altNames: [...names] }, pkcs8);
  return crypto.getPemBodyAsB64u(request);
}
