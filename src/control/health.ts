/** Whether we live, and whether we are ready for traffic. Pure. */
import type { ProxyStatus } from './proxies.ts';

/** Proxies tell of themselves once a second: one that has not for so long answers nobody. */
const SILENT_MS = 10_000;

export interface Health {
  /** The entrypoints are answered. */
  readonly alive: boolean;
  /** And each service has a worker that is ready, and we are to go on. */
  readonly ready: boolean;
  /** Why not; what a person can act on. */
  readonly problems: readonly string[];
}

export interface Observed {
  readonly now: number;
  /** We were told to end. */
  readonly stopping: boolean;
  readonly proxies: readonly Pick<ProxyStatus, 'slot' | 'state' | 'heardAt'>[];
  readonly services: readonly { readonly name: string; readonly ready: number }[];
}

export function judgeHealth({ now, stopping, proxies, services }: Observed): Health {
  const answers = ({ state, heardAt }: (typeof proxies)[number]): boolean =>
    (state === 'ready' || state === 'draining') && now - heardAt < SILENT_MS;
  const alive = proxies.some(answers);
  const problems: string[] = [];
  if (!alive) {
    const states = proxies.map(({ slot, state, heardAt }) =>
      state === 'ready' || state === 'draining'
        ? `proxy ${slot} has said nothing for ${Math.round((now - heardAt) / 1000)} s`
        : `proxy ${slot} is ${state}`,
    );
    problems.push(`no proxy answers: ${states.join(', ')}`);
  }
  if (stopping) problems.push('it is stopping');
  for (const { name, ready } of services) if (ready === 0) problems.push(`service ${name} has no ready worker`);
  return { alive, ready: problems.length === 0, problems };
}
