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
