/** Names of requests, the same in logs, at workers and at clients. */
import { randomBytes } from 'node:crypto';

/** Unique without coordination: random per process, counted within, 20 hexadecimal digits. */
export function createRequestIds(): () => string {
  const process = randomBytes(6).toString('hex');
  const endings = Array.from({ length: 4096 }, (_, i) => i.toString(16).padStart(3, '0'));
  let count = 0;
  let start = '';
  return () => {
    const ending = count % endings.length;
    if (ending === 0) start = process + (count / endings.length).toString(16).padStart(5, '0');
    count++;
    return start + endings[ending];
  };
}

const ACCEPTED = /^[A-Za-z0-9._:+/=-]{1,64}$/;

/** The id a trusted proxy gave, if nothing in it could mean something in a log, a header or a page; else null. */
export function acceptedRequestId(value: string): string | null {
  return ACCEPTED.test(value) ? value : null;
}
