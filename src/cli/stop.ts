import { callDaemon } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { showProgress } from './progress.ts';
import { complainAbout, print } from './terminal.ts';

/** Ends the daemon: requests first, then workers. Exit 0 when all has ended, or 1 when none answers. */
export async function stop(socket: string | undefined, config: string | undefined): Promise<number> {
  try {
    using _ = showProgress(process.stderr, 'stopping');
    await callDaemon(findSocket(socket, config), 'POST', '/v1/stop', {});
  } catch (error) {
    complainAbout(error);
    return 1;
  }
  print('stopped');
  return 0;
}
