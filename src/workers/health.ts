/** Rise and fall: how many probes in a row change a mind. */
export interface Health {
  readonly healthy: boolean;
  /** Probes in a row that contradict `healthy`. */
  readonly against: number;
}

export const HEALTHY: Health = { healthy: true, against: 0 };
export const UNHEALTHY: Health = { healthy: false, against: 0 };

/** `rise` good probes in a row make healthy, `fall` bad ones unhealthy. */
export function afterProbe(
  health: Health,
  ok: boolean,
  { rise, fall }: { readonly rise: number; readonly fall: number },
): Health {
  if (ok === health.healthy) return { healthy: health.healthy, against: 0 };
  const against = health.against + 1;
  return against >= (health.healthy ? fall : rise) ? { healthy: ok, against: 0 } : { healthy: health.healthy, against };
}

/** One that is unhealthy is asked at least this often whether it has recovered. */
const RECOVERY_PROBE_MS = 1_000;

/**
 * Checks begin an interval apart, in milliseconds: one that waits in vain takes long, and with a pause after each, three
 * of them would take twice as long as they are configured to.
 */
export function untilNextProbe({ healthy }: Health, intervalMs: number, lastTookMs: number): number {
  return Math.max(0, (healthy ? intervalMs : Math.min(intervalMs, RECOVERY_PROBE_MS)) - lastTookMs);
}
