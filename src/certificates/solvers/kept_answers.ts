/**
 * Answers to challenges in the storage that instances share: whichever of them the CA reaches can answer. They outlive
 * nobody: a CA asks within minutes.
 */
import type { Storage } from '../storage/storage.ts';
import type { ChallengeName } from '../../snapshot.ts';

const LIFE_MS = 10 * 60_000;
const KINDS: readonly ChallengeName[] = ['http-01', 'tls-alpn-01'];

interface KeptAnswer {
  readonly answer: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

export async function keepAnswer(
  storage: Storage,
  challenge: ChallengeName,
  key: string,
  answer: string,
  now: number,
): Promise<void> {
  const kept: KeptAnswer = { answer, expires: now + LIFE_MS };
  await storage.write(placeOf(challenge, key), `${JSON.stringify(kept)}\n`);
}

/** Removes this answer; one that another instance put in its place stays. */
export async function dropAnswer(
  storage: Storage,
  challenge: ChallengeName,
  key: string,
  answer: string,
): Promise<void> {
  const place = placeOf(challenge, key);
  if (parse(await storage.read(place))?.answer === answer) await storage.remove(place);
}

/** null: nobody armed it, or too long ago. */
export async function findAnswer(
  storage: Storage,
  challenge: ChallengeName,
  key: string,
  now: number,
): Promise<string | null> {
  const kept = parse(await storage.read(placeOf(challenge, key)));
  return kept === null || kept.expires <= now ? null : kept.answer;
}

/** Of instances that died before they could. */
export async function removeExpiredAnswers(storage: Storage, now: number): Promise<void> {
  for (const challenge of KINDS) {
    for (const key of await storage.list(`challenges/${challenge}`)) {
      const place = placeOf(challenge, key);
      const kept = parse(await storage.read(place));
      if (kept === null || kept.expires <= now) await storage.remove(place);
    }
  }
}

function placeOf(challenge: ChallengeName, key: string): string {
  return `challenges/${challenge}/${key}`;
}

function parse(text: string | null): KeptAnswer | null {
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return null;
    const { answer, expires } = value as Record<string, unknown>;
    return typeof answer === 'string' && typeof expires === 'number' ? { answer, expires } : null;
  } catch {
    return null;
  }
}
