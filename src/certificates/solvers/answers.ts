/** An answer where CAs look for it: in every proxy of this daemon, and in the storage for those of other instances. */
import type { AnswerBoard } from './answer_board.ts';
import { dropAnswer, keepAnswer } from './kept_answers.ts';
import type { Storage } from '../storage/storage.ts';
import type { Logger } from '../../log.ts';
import type { ChallengeName } from '../../snapshot.ts';

export interface AnswerOptions {
  readonly board: AnswerBoard;
  /** Of a trial: one that forgets. */
  readonly storage: Storage;
  readonly log: Logger;
}

/** Resolves when whoever the CA reaches answers so. */
export async function hang(
  { board, storage }: AnswerOptions,
  challenge: ChallengeName,
  key: string,
  answer: string,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  await keepAnswer(storage, challenge, key, answer, Date.now());
  await board.put(challenge, key, answer);
}

/** Never rejects: what stays behind expires. */
export async function unhang(
  { board, storage, log }: AnswerOptions,
  challenge: ChallengeName,
  key: string,
  answer: string,
): Promise<void> {
  const outcomes = await Promise.allSettled([
    board.take(challenge, key, answer),
    dropAnswer(storage, challenge, key, answer),
  ]);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') {
      log.warn('challenge_not_disarmed', { challenge, error: outcome.reason instanceof Error ? outcome.reason : null });
    }
  }
}
