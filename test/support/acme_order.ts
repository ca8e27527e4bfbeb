/** An order made by the test itself, with acme-client alone: what the CA makes of a solver's answers. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import acme from 'acme-client';
import { eventually } from './eventually.ts';
import type { Pebble } from './pebble.ts';
import type { Challenge, Identifier, Solver } from '../../src/certificates/solvers/solver.ts';

export interface OrderedCertificate {
  readonly certificate: X509Certificate;
  /** What was armed, and has been disarmed. */
  readonly challenges: readonly Challenge[];
}

/** A name may begin with `*.`; all challenges are armed before the CA is told of any. Rejects with the CA's reason. */
export async function orderBy(
  pebble: Pebble,
  solver: Solver,
  names: readonly string[],
  type: Identifier['type'] = 'dns',
): Promise<OrderedCertificate> {
  acme.axios.defaults.httpsAgent = new https.Agent({ ca: readFileSync(pebble.trustedRoot) });
  const client = new acme.Client({
    directoryUrl: pebble.directoryUrl,
    accountKey: await acme.crypto.createPrivateEcdsaKey(),
    backoffMin: 50,
    backoffMax: 200,
  });
  await client.createAccount({ termsOfServiceAgreed: true });
  const order = await client.createOrder({ identifiers: names.map((value) => ({ type, value })) });
  const armed: Challenge[] = [];
  try {
    const offered = [];
    for (const authorization of await client.getAuthorizations(order)) {
      const challenge = authorization.challenges.find((candidate) => candidate.type === solver.type);
      if (challenge === undefined) throw new Error(`the CA offers no ${solver.type}`);
      // For dns-01 acme-client gives the record's value; every solver makes its own of the real thing.
      const plain = { ...challenge, type: 'http-01' } as typeof challenge;
      armed.push({
        type: solver.type,
        identifier: { type, value: authorization.identifier.value },
        wildcard: authorization.wildcard === true,
        token: challenge.token,
        keyAuthorization: await client.getChallengeKeyAuthorization(plain),
        accountUrl: client.getAccountUrl(),
      });
      offered.push(challenge);
    }
    await Promise.all(armed.map((challenge) => solver.arm(challenge, AbortSignal.timeout(30_000))));
    for (const challenge of offered) {
      await client.completeChallenge(challenge);
      await client.waitForValidStatus(challenge);
    }
    const ready = await eventually(async () => {
      const now = await client.getOrder(order);
      return now.status === 'ready' && now;
    });
    const [, csr] = await acme.crypto.createCsr({ altNames: [...names] }, await acme.crypto.createPrivateEcdsaKey());
    const finalized = await client.finalizeOrder(ready, csr);
    const valid = await eventually(async () => {
      const now = await client.getOrder({ ...finalized, url: order.url });
      return now.status === 'valid' && now;
    });
    return { certificate: new X509Certificate(await client.getCertificate(valid)), challenges: armed };
  } finally {
    await Promise.all(armed.map((challenge) => solver.disarm(challenge)));
  }
}
