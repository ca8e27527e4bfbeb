/** Numbers and times as people read them. */

export function bytes(value: number | null): string {
  if (value === null) return '–';
  const mib = value / 2 ** 20;
  return mib >= 1_024 ? `${(mib / 1_024).toFixed(1)} GiB` : `${mib.toFixed(mib < 10 ? 1 : 0)} MiB`;
}

export function percent(value: number | null): string {
  return value === null ? '–' : `${Math.round(value * 100)} %`;
}

export function milliseconds(value: number | null): string {
  if (value === null) return '–';
  return value >= 1_000 ? `${(value / 1_000).toFixed(1)} s` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

export function rate(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toFixed(1);
}

/** How long since, or until: its two largest units. */
export function span(ms: number): string {
  let seconds = Math.max(0, Math.floor(ms / 1_000));
  const parts: string[] = [];
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    if (seconds < size && (unit !== 's' || parts.length > 0)) continue;
    parts.push(`${Math.floor(seconds / size)}${unit}`);
    seconds %= size;
  }
  return parts.slice(0, 2).join(' ');
}

export function since(time: string | null): string {
  return time === null ? '–' : span(Date.now() - Date.parse(time));
}
