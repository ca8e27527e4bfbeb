import { callDaemon, isRecord } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { complain, complainAbout, print } from './terminal.ts';
import { escapeControls } from '../log.ts';

/** Who asks may do so every few seconds. */
const TIMEOUT_MS = 5_000;

/** Whether the daemon lives, or with `ready` can serve, in one line. Exit 0 or 1. */
export async function health(socket: string | undefined, option: string | undefined, ready: boolean): Promise<number> {
  const word = ready ? 'ready' : 'alive';
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const answer = await callDaemon(findSocket(socket, option), 'GET', '/v1/health', undefined, { signal });
    const told = isRecord(answer) ? answer : {};
    if (told[word] === true) {
      print(word);
      return 0;
    }
    const problems = Array.isArray(told['problems']) ? told['problems'].map(String) : [];
    complain(escapeControls(`proxy: not ${word}: ${problems.join('; ')}`));
  } catch (error) {
    complainAbout(error);
  }
  return 1;
}
