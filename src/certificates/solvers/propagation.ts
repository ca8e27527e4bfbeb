/**
 * A CA may ask any name server of a zone, so it is told to look only when all of them show the record. They are asked
 * themselves: a resolver that was asked too early would remember that there is none.
 */
import { ChallengeError } from './challenge_error.ts';
import type { DnsLookup, NameServer, TxtAnswer } from './dns_lookup.ts';
import { sleep } from '../../lifecycle.ts';

const POLL_STEPS_MS = [100, 250, 500, 1_000, 2_000, 5_000];

export interface PropagationOptions {
  readonly lookup: DnsLookup;
  /** 0: it is not waited for. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Resolves when `value` is among the records of `name`; rejects with who does not show it when the time is up. */
export async function untilShown(
  name: string,
  value: string,
  zone: string | null,
  { lookup, timeoutMs, signal }: PropagationOptions,
): Promise<void> {
  if (timeoutMs === 0) return;
  const deadline = Date.now() + timeoutMs;
  const servers = zone === null ? [] : await lookup.nameServers(zone);
  for (let attempt = 0; ; attempt++) {
    const missing =
      servers.length === 0
        ? await missingFromResolvers(lookup, name, value)
        : await missingFrom(lookup, servers, name, value);
    if (missing === null) return;
    signal.throwIfAborted();
    const step = POLL_STEPS_MS[Math.min(attempt, POLL_STEPS_MS.length - 1)] ?? 0;
    if (Date.now() + step > deadline) {
      throw new ChallengeError(
        'NOT_PROPAGATED',
        `after ${Math.round(timeoutMs / 1000)} s the TXT record ${name} is not everywhere: ${missing}; acme.dns.propagation_timeout says how long is waited`,
      );
    }
    await sleep(step, signal);
    signal.throwIfAborted();
  }
}

/** null: all that can be reached show it. */
async function missingFrom(
  lookup: DnsLookup,
  servers: readonly NameServer[],
  name: string,
  value: string,
): Promise<string | null> {
  const answers = await Promise.all(
    servers.map(async (server) => ({ server, answer: await lookup.txt(name, server) })),
  );
  // One without a way to it (IPv6 where there is none) is for the CA to find out about, unless nobody vouches for the rest.
  const reached = answers.filter(({ answer }) => answer.state !== 'unreachable');
  const lacking = (reached.length === 0 ? answers : reached).filter(({ answer }) => !shows(answer, value));
  if (lacking.length === 0) return null;
  return lacking.map(({ server, answer }) => `${server.name} (${server.address}) ${inWords(answer)}`).join(', ');
}

/** For zones nobody names servers of. */
async function missingFromResolvers(lookup: DnsLookup, name: string, value: string): Promise<string | null> {
  const answer = await lookup.txt(name);
  return shows(answer, value) ? null : `the resolver ${inWords(answer)}`;
}

function shows(answer: TxtAnswer, value: string): boolean {
  return answer.state === 'answered' && answer.values.includes(value);
}

function inWords(answer: TxtAnswer): string {
  if (answer.state !== 'answered') {
    return `${answer.state === 'failed' ? 'fails' : 'cannot be reached'} (${answer.code})`;
  }
  return answer.values.length === 0 ? 'has no such record' : `has only ${answer.values.length} other values`;
}
