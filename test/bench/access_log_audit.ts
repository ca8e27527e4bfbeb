/** Whether a contender really logs what it answers: who drops lines, or writes none, has less to do. */
import { createReadStream, truncateSync } from 'node:fs';
import type { Contender } from './contenders/contender.ts';
import { eventually } from '../support/eventually.ts';

export interface AccessLogAudit {
  /** So many more requests were answered. */
  expect(answers: number): void;
  /** Throws unless there is a line for each; then begins anew with an empty file. */
  verify(): Promise<void>;
}

export function auditAccessLog({ name, accessLog }: Contender): AccessLogAudit {
  let expected = 0;
  return {
    expect: (answers) => (expected += answers),
    verify: async () => {
      if (accessLog === null) return;
      // Lines are written in batches.
      await eventually(
        async () => {
          const lines = await countLines(accessLog);
          if (lines < expected) throw new Error(`${name}: ${lines} lines in its access log after ${expected} answers`);
          return true;
        },
        { withinMs: 3_000, everyMs: 250 },
      );
      expected = 0;
      // All append, so they go on at the new end.
      truncateSync(accessLog);
    },
  };
}

async function countLines(file: string): Promise<number> {
  let lines = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  }
  return lines;
}
