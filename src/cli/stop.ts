import { callDaemon } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { during } from './progress.ts';
import type { ServiceVerb } from './services.ts';
import { complainAbout, print } from './terminal.ts';

/** Ends the daemon: requests first, then workers. Exit 0 when all has ended, or 1 when none answers. */
export async function stop({ socket, config, json }: Omit<ServiceVerb, 'words'>): Promise<number> {
  try {
    await during('stopping', () => callDaemon(findSocket(socket, config), 'POST', '/v1/stop', {}));
  } catch (error) {
    complainAbout(error);
    return 1;
  }
  print(json ? '{}' : 'stopped');
  return 0;
}
