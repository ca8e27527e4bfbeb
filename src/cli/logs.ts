/** `proxy logs`: what workers and the daemon wrote, as it keeps it. */
import { callDaemon, DaemonError, isRecord } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { complain, complainAbout, print } from './terminal.ts';
import { formatEvent } from '../log.ts';
import type { LogLevel } from '../log.ts';

export interface LogsOptions {
  readonly words: readonly string[];
  readonly follow: boolean;
  readonly lines: string | undefined;
  readonly json: boolean;
  readonly socket: string | undefined;
  readonly config: string | undefined;
}

/** Exit 0, or 1 with the reason; who follows goes on until a signal or the daemon's end. */
export async function logs({ words, follow, lines, json, ...where }: LogsOptions): Promise<number> {
  const [service, more] = words;
  if (more !== undefined) {
    complain('proxy: give one service, or none: proxy logs [SERVICE]');
    return 1;
  }
  const query = new URLSearchParams({
    ...(service === undefined ? {} : { service }),
    ...(lines === undefined ? {} : { lines }),
    ...(follow ? { follow: '1' } : {}),
  });
  const show = (event: unknown): void => print(json ? JSON.stringify(event) : describeEvent(event));
  // A reader that has enough (`| head`) ends us, quietly.
  process.stdout.on('error', () => process.exit(0));
  try {
    const socket = findSocket(where.socket, where.config);
    const path = `/v1/logs?${query}`;
    const answer = await callDaemon(socket, 'GET', path, undefined, follow ? { onProgress: show } : {});
    const events = isRecord(answer) && Array.isArray(answer['events']) ? answer['events'] : [];
    for (const event of events) show(event);
    return 0;
  } catch (error) {
    complainAbout(error);
    if (error instanceof DaemonError) for (const detail of error.details) complain(detail);
    return 1;
  }
}

/** What a worker wrote stands for itself, behind the worker's name. */
export function describeEvent(value: unknown): string {
  if (!isRecord(value)) return String(value);
  const { time, level, event, ...fields } = value;
  const at = new Date(String(time));
  if (event === 'worker_output') {
    return `${at.toISOString().slice(11, 23)} ${String(fields['worker'])} | ${String(fields['line'])}`;
  }
  return formatEvent('text', { at, level: parseLevel(level), event: String(event), fields }).trimEnd();
}

function parseLevel(value: unknown): LogLevel {
  return value === 'debug' || value === 'warn' || value === 'error' ? value : 'info';
}
