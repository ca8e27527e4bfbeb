/** Certificates an operator keeps in files, taken up again whenever those change. */
import { readFileSync, statSync } from 'node:fs';
import { parseCertificate } from '../certificate.ts';
import type { Decision } from '../renewal.ts';
import type { Managed, Source } from './source.ts';
import { describeError } from '../../log.ts';
import type { Logger } from '../../log.ts';

const NEVER: Decision = { dueAt: Infinity, attemptAt: Infinity, reason: 'ratio', exempt: false };

export function createFilesSource(log: Logger): Source {
  /** Of the files, when they were last read. */
  const readAt = new WeakMap<Managed, number>();
  const source: Source = {
    load: async (item) => {
      const { files, name } = item;
      if (files === null) return;
      readAt.set(item, mtimeOf(files));
      try {
        item.certificate = parseCertificate(readFileSync(files.certificate, 'utf8'), readFileSync(files.key, 'utf8'));
        item.attempts = null;
      } catch (error) {
        // What was read before goes on to be served.
        log.error('certificate_unusable', { name, certificate: files.certificate, error });
        const fixed = { failures: 1, lastAttemptAt: Date.now(), code: 7, retryAt: null, needsOperator: true, wish: '' };
        item.attempts = { ...fixed, error: describeError(error) };
      }
    },
    changed: async (item) => item.files !== null && mtimeOf(item.files) !== readAt.get(item),
    decide: () => NEVER,
    renew: async (item) => {
      await source.load(item);
      const { name, certificate, attempts } = item;
      if (attempts !== null) return { name, outcome: 'failed', code: 7, reason: attempts.error };
      return { name, outcome: 'renewed', code: 0, serial: certificate?.serial ?? '' };
    },
  };
  return source;
}

/** The newer of the two; 0 when one is missing. */
function mtimeOf(files: { readonly certificate: string; readonly key: string }): number {
  const times = [files.certificate, files.key].map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  return times.includes(0) ? 0 : Math.max(...times);
}
