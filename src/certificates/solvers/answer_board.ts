/** What every proxy answers to CAs now. One for a daemon: whoever orders, for real or on trial, hangs answers on it. */
import type { ChallengeName, ChallengesPart } from '../../snapshot.ts';

export interface AnswerBoard {
  /** Resolves when every proxy answers so; a later answer for the same key hides the ones before. */
  put(challenge: ChallengeName, key: string, answer: string): Promise<void>;
  /** Takes one answer away, and only this one; one that is not there is no error. */
  take(challenge: ChallengeName, key: string, answer: string): Promise<void>;
  current(challenge: ChallengeName, key: string): string | null;
}

/** `publish` resolves when every proxy has the part. */
export function createAnswerBoard(publish: (part: ChallengesPart) => Promise<void>): AnswerBoard {
  // Two orders for one name may run at once, a trial beside the real one.
  const answers: Readonly<Record<ChallengeName, Map<string, string[]>>> = {
    'http-01': new Map(),
    'tls-alpn-01': new Map(),
  };
  const top = (map: ReadonlyMap<string, readonly string[]>): Record<string, string> =>
    Object.fromEntries([...map].map(([key, list]) => [key, list.at(-1) ?? '']));
  const publishAll = (): Promise<void> =>
    publish({ http01: top(answers['http-01']), tlsAlpn01: top(answers['tls-alpn-01']) });

  return {
    put: (challenge, key, answer) => {
      const list = answers[challenge].get(key);
      if (list === undefined) answers[challenge].set(key, [answer]);
      else list.push(answer);
      return publishAll();
    },
    take: async (challenge, key, answer) => {
      const list = answers[challenge].get(key) ?? [];
      const at = list.lastIndexOf(answer);
      if (at < 0) return;
      list.splice(at, 1);
      if (list.length === 0) answers[challenge].delete(key);
      await publishAll();
    },
    current: (challenge, key) => answers[challenge].get(key)?.at(-1) ?? null,
  };
}
