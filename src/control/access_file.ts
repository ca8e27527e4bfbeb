/** The file of the access log, made so that the proxies, who may be nobody, can append to it. */
import { closeSync, fchmodSync, fchownSync, openSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import type { Identity } from '../snapshot.ts';

/** What a path of the configuration cannot be used for, in one line for the operator. */
export class AccessFileError extends Error {}

/** Throws `AccessFileError`. */
export function prepareAccessFile({ access }: Config['logging'], identity: Identity | null): void {
  if (access === null || access.file === null) return;
  try {
    const fd = openSync(access.file, 'a', 0o640);
    try {
      if (identity !== null) fchownSync(fd, identity.uid, identity.gid);
      fchmodSync(fd, 0o640);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new AccessFileError(`logging.access.file ${access.file} cannot be written (${code})`);
  }
}
