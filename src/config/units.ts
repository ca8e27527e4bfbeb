/** Durations and sizes as people write them. */

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
};
/** What a Node timer can hold. */
const MAX_DURATION_MS = 2 ** 31 - 1;

/** Milliseconds, from `250ms 10s 1.5s 5m 24h 1h30m`; null for anything else, a bare number included: of what? */
export function parseDuration(text: string, maxMs = MAX_DURATION_MS): number | null {
  if (text === '0') return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    total += Number(amount) * (DURATION_UNITS[unit ?? ''] ?? Number.NaN);
  }
  const ms = Math.round(total);
  return ms <= maxMs ? ms : null;
}

/** Bytes, from `64KiB 10MiB 5MB 1024`; null for anything else. */
export function parseSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s?([A-Za-z]*)$/.exec(text);
  const factor = SIZE_UNITS[match?.[2] ?? ''];
  if (match === null || factor === undefined) return null;
  const bytes = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(bytes) ? bytes : null;
}
