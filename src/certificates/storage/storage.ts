/**
 * What the rooms that keep things need of a place to keep them: small texts by key, durable, perhaps shared by several
 * instances. Keys are paths of plain words (`certificates/ca/name/g-1/key.pem`); everything kept is secret.
 */

/** Nothing could be read or kept: the disk is full, not ours, or away. The message says what to do. */
export class StorageError extends Error {}

/** Somebody took the lock over, as they may when its holder seems dead: what was decided under it no longer holds. */
export class LockLostError extends StorageError {}

export interface Storage {
  /** Where it is, for people: a folder or a URL without credentials. */
  readonly description: string;
  /** null: nothing is kept by this key. */
  read(key: string): Promise<string | null>;
  /** Whole or not at all, and durable when it resolves. */
  write(key: string, content: string): Promise<void>;
  /** The key, or all keys below it. Nothing there is no error. */
  remove(key: string): Promise<void>;
  /** The next words below `prefix`, in no order. */
  list(prefix: string): Promise<readonly string[]>;
  /** `key` names `sibling`, a neighbour of its own level, from now on: atomically, and readable by `pointee`. */
  point(key: string, sibling: string): Promise<void>;
  pointee(key: string): Promise<string | null>;
  /**
   * Runs `work` while nobody else holds the lock, waiting for it until `signal` aborts (then rejects with its reason).
   * A holder that dies is taken over from within 15 s. `work` calls `assertHeld` before each step that cannot be undone.
   */
  withLock<T>(name: string, signal: AbortSignal, work: (lock: Lock) => Promise<T>): Promise<T>;
  /** Writes 10 KiB, reads them back and removes them; rejects with a `StorageError` when nothing could be kept. */
  probe(): Promise<void>;
}

export interface Lock {
  /** Rejects with a `LockLostError` when the lock is no longer ours. */
  assertHeld(): Promise<void>;
}
