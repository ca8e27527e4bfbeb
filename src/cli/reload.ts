import { callDaemon, DaemonError, isRecord } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { during } from './progress.ts';
import { complain, complainAbout, print } from './terminal.ts';

export interface ReloadOptions {
  readonly socket: string | undefined;
  readonly config: string | undefined;
  readonly json: boolean;
}

/** Has the daemon read its file again. Exit 0 done, 2 the file has problems, 1 anything else. */
export async function reload({ socket, config, json }: ReloadOptions): Promise<number> {
  try {
    const outcome = await during('reloading', () => callDaemon(findSocket(socket, config), 'POST', '/v1/reload'));
    if (json) {
      print(JSON.stringify(outcome, null, 2));
      return 0;
    }
    const changes = list(outcome, 'changes');
    const notReloaded = list(outcome, 'not_reloaded');
    // Who edits the app and not the file may have meant its code.
    const launched = list(outcome, 'launched').map((name) => `\`proxy deploy ${name}\``);
    const hint = launched.length === 0 ? '' : `; new code: ${launched.join(', ')}`;
    print(changes.length === 0 ? `nothing changed${hint}` : changes.join('\n'));
    if (notReloaded.length > 0) complain(`only a new start changes: ${notReloaded.join(', ')}`);
    return 0;
  } catch (error) {
    complainAbout(error);
    if (!(error instanceof DaemonError)) return 1;
    for (const detail of error.details) complain(detail);
    return error.code === 'bad_configuration' ? 2 : 1;
  }
}

function list(outcome: unknown, key: string): string[] {
  const value = isRecord(outcome) ? outcome[key] : [];
  return Array.isArray(value) ? value.map(String) : [];
}
