import { callDaemon, isRecord } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { complain, complainAbout, print } from './terminal.ts';
import { escapeControls } from '../log.ts';

/** Who asks may do so every few seconds. */
const TIMEOUT_MS = 5_000;

export interface HealthOptions {
  readonly socket: string | undefined;
  readonly config: string | undefined;
  readonly ready: boolean;
  readonly json: boolean;
}

/** Whether the daemon lives, or with `ready` can serve, in one line. Exit 0 or 1. */
export async function health({ socket, config, ready, json }: HealthOptions): Promise<number> {
  const word = ready ? 'ready' : 'alive';
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const answer = await callDaemon(findSocket(socket, config), 'GET', '/v1/health', undefined, { signal });
    const told = isRecord(answer) ? answer : {};
    const well = told[word] === true;
    if (json || well) print(json ? JSON.stringify(answer, null, 2) : word);
    if (json || well) return well ? 0 : 1;
    const problems = Array.isArray(told['problems']) ? told['problems'].map(String) : [];
    complain(escapeControls(`proxy: not ${word}: ${problems.join('; ')}`));
  } catch (error) {
    complainAbout(error);
  }
  return 1;
}
