import assert from 'node:assert/strict';
import { test } from 'node:test';
import { showProgress } from './progress.ts';

test('progress is shown on a terminal alone, and gone when it is over', () => {
  for (const isTTY of [true, false]) {
    let written = '';
    {
      using _ = showProgress({ isTTY, write: (text: string) => Boolean((written += text)) }, 'trying');
      assert.equal(/trying 0s/.test(written), isTTY);
    }
    assert.equal(written.endsWith('\r\u001b[2K'), isTTY);
  }
});
