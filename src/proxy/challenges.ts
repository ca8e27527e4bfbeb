/**
 * Answers to a CA's challenges: those that were published, and, for a key nobody told us of, those the control plane finds
 * in a storage other instances share. Strangers may ask for anything, so asking on is rare, bounded and soon given up.
 */
import tls from 'node:tls';
import type { ChallengeName, ChallengesPart, FromProxy } from '../snapshot.ts';

/** CAs wait for some 10 s; a storage that takes longer than this answers nobody. */
const LOOKUP_TIMEOUT_MS = 2_000;
const LOOKUPS_PER_SECOND = 20;
const LOOKUPS_AT_ONCE = 16;
/** Nobody but the CA knows a token; a name is known to all, and might be armed the moment after a stranger asked. */
const MISSED_TOKEN_MS = 1_000;
/** No longer than a storage's keys may be. Control over an IPv6 address is asked for by its name under ip6.arpa (RFC 8738 section 6): these letters do for all. */
const NAME = /^[a-z0-9][a-z0-9.-]{0,239}$/;

type Later<T> = T | null | Promise<T | null>;

export interface Challenges {
  /** The key authorization of a well-formed token; null: not known. */
  http01(token: string): Later<string>;
  /** Of a server name in lower case. */
  tlsAlpn01(name: string): Later<tls.SecureContext>;
  apply(part: ChallengesPart): void;
  /** What the control plane found, or did not. */
  found(id: number, answer: string | null): void;
}

export interface ChallengesOptions {
  readonly ask: (message: Extract<FromProxy, { type: 'challenge_wanted' }>) => void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

export function createChallenges({ ask, now }: ChallengesOptions): Challenges {
  let part: ChallengesPart = { http01: {}, tlsAlpn01: {} };
  /** By name; of the answers that are still the same PEM. */
  let contexts = new Map<string, { readonly pem: string; readonly context: tls.SecureContext }>();
  const waiting = new Map<number, (answer: string | null) => void>();
  const running = new Map<string, Promise<string | null>>();
  /** Tokens nobody knows, and until when that is taken for granted; in its order. */
  const missed = new Map<string, number>();
  let lastId = 0;
  let second = -Infinity;
  let askedInSecond = 0;

  const mayAsk = (at: number): boolean => {
    if (at - second >= 1_000) {
      second = at;
      askedInSecond = 0;
    }
    return waiting.size < LOOKUPS_AT_ONCE && ++askedInSecond <= LOOKUPS_PER_SECOND;
  };

  const lookUp = (challenge: ChallengeName, key: string): Later<string> => {
    const at = now();
    for (const [token, until] of missed) {
      if (until > at) break;
      missed.delete(token);
    }
    if (challenge === 'http-01' && missed.has(key)) return null;
    const place = `${challenge}/${key}`;
    const same = running.get(place);
    if (same !== undefined) return same;
    if (!mayAsk(at)) return null;
    const id = ++lastId;
    const lookup = new Promise<string | null>((resolve) => {
      const done = (answer: string | null): void => {
        clearTimeout(timer);
        waiting.delete(id);
        running.delete(place);
        if (answer === null && challenge === 'http-01') missed.set(key, now() + MISSED_TOKEN_MS);
        resolve(answer);
      };
      const timer = setTimeout(done, LOOKUP_TIMEOUT_MS, null);
      waiting.set(id, done);
    });
    running.set(place, lookup);
    ask({ type: 'challenge_wanted', challenge, key, id });
    return lookup;
  };

  return {
    http01: (token) => own(part.http01, token) ?? lookUp('http-01', token),
    tlsAlpn01: (name) => {
      const published = contexts.get(name);
      if (published !== undefined) return published.context;
      if (!NAME.test(name)) return null;
      const answer = lookUp('tls-alpn-01', name);
      return answer instanceof Promise ? answer.then(contextOf) : contextOf(answer);
    },
    apply: (next) => {
      const made = new Map<string, { readonly pem: string; readonly context: tls.SecureContext }>();
      for (const [name, pem] of Object.entries(next.tlsAlpn01)) {
        const before = contexts.get(name);
        const context = before?.pem === pem ? before.context : contextOf(pem);
        if (context !== null) made.set(name, { pem, context });
      }
      part = next;
      contexts = made;
    },
    found: (id, answer) => waiting.get(id)?.(answer),
  };
}

/** `constructor` is a well-formed token, too. */
function own(answers: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(answers, key) ? answers[key] : undefined;
}

function contextOf(pem: string | null): tls.SecureContext | null {
  return pem === null ? null : tls.createSecureContext({ cert: pem, key: pem, minVersion: 'TLSv1.2' });
}
