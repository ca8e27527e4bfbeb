import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defects, persist, tellDefect } from './defects.ts';
import { createLogger } from './log.ts';
import type { LoggedEvent } from './log.ts';

function listen() {
  const events: LoggedEvent[] = [];
  let text = '';
  const log = createLogger({
    level: 'error',
    format: 'json',
    write: (line) => (text += line),
    observe: (event) => events.push(event),
  });
  return { log, events, text: () => text };
}

test('a defect is told with its place in one line, and counted', () => {
  const { log, text } = listen();
  const before = defects();
  tellDefect(log, new Error('cannot\n\u001b[2J read'));
  tellDefect(log, 'not even an error');
  assert.equal(defects(), before + 2);
  const [first = '', second = ''] = text().trimEnd().split('\n');
  assert.match(first, /"event":"defect","error":"cannot\\n\\u001b\[2J read","stack":\[.*defects\.test\.ts/);
  assert.match(second, /"error":"not even an error","stack":\[\]/);
});

test('work that throws is begun again until it ends, or nobody wants it', async () => {
  const { log, events } = listen();
  let turns = 0;
  const work = async (): Promise<void> => {
    if (++turns < 3) throw new Error(`turn ${turns}`);
  };
  await persist(work, log, new AbortController().signal, 1);
  assert.equal(turns, 3);
  assert.deepEqual(
    events.map(({ fields }) => fields['error']),
    ['turn 1', 'turn 2'],
  );
  const over = new AbortController();
  const hopeless = persist(
    async () => {
      over.abort();
      throw new Error('for ever');
    },
    log,
    over.signal,
    60_000,
  );
  await hopeless;
});
