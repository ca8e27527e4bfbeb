import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newHistory, PERIOD_MS, scaleDecision } from './scale_decision.ts';
import type { PeriodLoad, ScaleHistory, ScaleInputs } from './scale_decision.ts';

const LIMITS = { min: 1, max: 12, downAfterMs: 300_000 };
const QUIET: ScaleInputs = {
  wanted: 4,
  ready: 4,
  queued: 0,
  queuedMs: 0,
  room: { more: Infinity, sum: 'enough' },
  period: null,
};

function period(changes: Partial<PeriodLoad>): PeriodLoad {
  return { cpu: null, busy: null, hostCpu: 0.5, settling: false, ...changes };
}

/** What one look decides, with nothing before it. */
function decide(changes: Partial<ScaleInputs>, limits = LIMITS, history = newHistory(0)) {
  return scaleDecision({ ...QUIET, ...changes }, history, limits, 1_000_000);
}

test('the table: one look, nothing before it', () => {
  const table: readonly (readonly [string, Partial<ScaleInputs>, number, RegExp])[] = [
    ['fewer than min', { wanted: 0 }, 1, /min is 1/],
    ['more than max', { wanted: 13 }, 12, /max is 12/],
    ['within the band', { period: period({ cpu: 0.89 }) }, 4, /within the band/],
    ['above it: so many that 70 % is left for each', { period: period({ cpu: 0.95 }) }, 6, /cpu 95 %/],
    ['far above it: at most as many again, or four', { period: period({ busy: 3 }) }, 8, /busy 300 %/],
    ['of nine, nine more', { wanted: 9, ready: 9, period: period({ busy: 3 }) }, 12, /busy/],
    ['the larger metric counts', { period: period({ cpu: 0.2, busy: 1 }) }, 6, /busy 100 %/],
    ['never above max', { wanted: 12, ready: 12, period: period({ cpu: 1 }) }, 12, /but max is 12/],
    ['memory goes before load', { period: period({ busy: 3 }), room: { more: 1, sum: '' } }, 5, /busy/],
    ['and may allow none', { period: period({ busy: 3 }), room: { more: 0, sum: 'A of B' } }, 4, /no room: A of B/],
    ['a full machine forbids growth by CPU', { period: period({ cpu: 1, hostCpu: 0.95 }) }, 4, /so is the machine/],
    ['not growth by requests', { period: period({ cpu: 1, busy: 1, hostCpu: 0.95 }) }, 6, /busy/],
    ['requests waited long', { queued: 3, queuedMs: 1_000 }, 5, /waited for 1\.0 s/],
    ['requests waited a little', { queued: 3, queuedMs: 900 }, 4, /goes on/],
    ['none is ready', { ready: 0, queued: 3, queuedMs: 9_000 }, 4, /no worker is ready/],
    ['nothing is known', { period: period({}) }, 4, /nothing is known/],
    ['nothing is known of one metric', { period: period({ busy: 0.6 }) }, 4, /within/],
  ];
  for (const [name, changes, wanted, reason] of table) {
    const decision = decide(changes);
    assert.equal(decision.wanted, wanted, `${name}: ${decision.reason}`);
    assert.match(decision.reason, reason, name);
  }
});

/** Looks every half second, with the load of whatever the number of workers is then. */
function play(
  seconds: number,
  at: (second: number, wanted: number) => Partial<ScaleInputs> & { readonly load?: Partial<PeriodLoad> },
  start = { wanted: 4, history: newHistory(0), now: 0 },
  limits = LIMITS,
) {
  let { wanted, history, now } = start;
  const changes: (readonly [second: number, wanted: number])[] = [];
  for (const until = now + seconds * 1_000; now < until;) {
    now += 500;
    const { load = {}, ...inputs } = at((now - start.now) / 1_000, wanted);
    const ends = now % Math.min(PERIOD_MS, limits.downAfterMs / 4) === 0;
    const all = { ...QUIET, wanted, ready: wanted, ...inputs, period: ends ? period(load) : null };
    const decision = scaleDecision(all, history, limits, now);
    if (decision.wanted !== wanted) changes.push([(now - start.now) / 1_000, decision.wanted]);
    ({ wanted, history } = decision);
  }
  return { changes, wanted, history, now };
}

test('requests that never wait long but always some do are a sign, too', () => {
  const { changes } = play(5, () => ({ queued: 1, queuedMs: 50 }));
  assert.deepEqual(changes[0], [3.5, 5]);
});

test('a queue adds one worker a second, and in a period no more than four or as many as there were', () => {
  const { changes } = play(19, () => ({ queued: 9, queuedMs: 5_000 }), { wanted: 1, history: newHistory(0), now: 0 });
  assert.deepEqual(changes, [
    [0.5, 2],
    [1.5, 3],
    [2.5, 4],
    [3.5, 5],
    [15.5, 6],
    [16.5, 7],
    [17.5, 8],
    [18.5, 9],
  ]);
});

test('low load takes one away after the whole window, then one a period, as long as the others have room for it', () => {
  const { changes } = play(400, (_, wanted) => ({ load: { busy: 1 / wanted, cpu: 0.01 } }));
  assert.deepEqual(changes, [
    [300, 3],
    // Then one of two is half of what they can: within the band.
    [315, 2],
  ]);
  const lower = play(400, (_, wanted) => ({ load: { cpu: 0.2 / wanted } }));
  assert.deepEqual(lower.changes, [
    [300, 3],
    [315, 2],
    [330, 1],
  ]);
});

test('one busy period in a window keeps all there are', () => {
  const { changes } = play(590, (second) => ({ load: { cpu: second === 300 ? 0.6 : 0.1 } }));
  assert.deepEqual(changes, []);
  const later = play(620, (second) => ({ load: { cpu: second === 300 ? 0.6 : 0.1 } }));
  assert.deepEqual(later.changes[0], [600, 3]);
});

test('new workers hold nobody’s place open: the window begins when they are known', () => {
  const { changes } = play(340, (second) => ({ load: { cpu: 0, settling: second <= 30 } }));
  assert.deepEqual(changes[0], [330, 3]);
});

test('requests that wait have no worker taken away', () => {
  const { changes } = play(301, (second) => ({ load: { cpu: 0.1 }, queued: second > 299 ? 1 : 0 }));
  assert.deepEqual(
    changes.filter(([, wanted]) => wanted < 4),
    [],
  );
});

test('a load that comes and goes makes no worker come and go', () => {
  const history: ScaleHistory = newHistory(0);
  const { changes } = play(1_800, (second, wanted) => ({ load: { busy: (second % 120 < 60 ? 3.4 : 1) / wanted } }), {
    wanted: 5,
    history,
    now: 0,
  });
  assert.deepEqual(changes, []);
});
