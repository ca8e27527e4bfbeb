/** Commands on a terminal, that of util-linux's script(1). */
import { spawn } from 'node:child_process';

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** `command` is a line for a shell. */
export function onTerminal(command: string, { env = {} }: TerminalOptions = {}) {
  const child = spawn('script', ['-qec', `stty rows 60 columns 200; ${command}`, '/dev/null'], {
    stdio: 'pipe',
    env: { ...process.env, TERM: 'xterm', ...env },
  });
  let seen = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (seen += text));
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, exited, seen: () => seen };
}
