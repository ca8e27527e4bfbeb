/** Pauses before another start: as planned, but for the fifth by which each is longer or shorter. */
import assert from 'node:assert/strict';

export function assertPauses(actual: readonly unknown[], plannedMs: readonly number[]): void {
  assert.equal(actual.length, plannedMs.length, String(actual));
  plannedMs.forEach((planned, i) => {
    const pause = Number(actual[i]);
    assert.ok(pause >= planned * 0.8 && pause <= planned * 1.2, `${String(actual)} for ${String(plannedMs)}`);
  });
}
