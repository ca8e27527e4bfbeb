/** `proxy status`: once, as JSON, or again and again until a key ends it. */
import { callDaemon } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { COLOURED, PLAIN, renderStatus } from './status_report.ts';
import type { Paint } from './status_report.ts';
import { complain, complainAbout, likesColour, print, show } from './terminal.ts';
import { sleep } from '../lifecycle.ts';
import { describeError, escapeControls } from '../log.ts';

const WATCH_MS = 1_000;
/** A screen of its own, as editors have: what was there before is there again afterwards. */
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_REST = '\u001b[J';

export interface StatusOptions {
  readonly socket: string | undefined;
  readonly config: string | undefined;
  readonly json: boolean;
  readonly watch: boolean;
}

/** Exit 0, or 1 when no daemon answers. */
export async function status({ socket, config, json, watch }: StatusOptions): Promise<number> {
  if (watch && (json || !process.stdout.isTTY)) {
    complain('proxy: --watch is for a terminal; elsewhere ask again for --json');
    return 1;
  }
  const paint = likesColour(process.stdout) ? COLOURED : PLAIN;
  const ask = (): Promise<unknown> => callDaemon(findSocket(socket, config), 'GET', '/v1/status');
  if (watch) return redraw(ask, paint);
  try {
    const value = await ask();
    if (json) print(JSON.stringify(value, null, 2));
    else show(renderStatus(value, Date.now(), paint));
    return 0;
  } catch (error) {
    complainAbout(error);
    return 1;
  }
}

async function redraw(ask: () => Promise<unknown>, paint: Paint): Promise<number> {
  const over = new AbortController();
  let resized = new AbortController();
  const end = (): void => over.abort();
  process.on('SIGINT', end).on('SIGTERM', end).on('SIGHUP', end);
  process.stdout.on('resize', () => resized.abort());
  using _ = pressedKeys(end);
  process.stdout.write(ENTER);
  try {
    while (!over.signal.aborted) {
      // A daemon that is gone may come again.
      const text = await ask().then(
        (value) => renderStatus(value, Date.now(), paint),
        (error: unknown) => paint('bad', escapeControls(describeError(error))),
      );
      process.stdout.write(screen(text, process.stdout.rows, process.stdout.columns));
      resized = new AbortController();
      await sleep(WATCH_MS, AbortSignal.any([over.signal, resized.signal]));
    }
  } finally {
    process.stdout.write(LEAVE);
  }
  return 0;
}

/** As much of the text as the terminal has room for, over what was there. */
export function screen(text: string, rows: number, columns: number): string {
  const lines = text.split('\n');
  const shown = lines.length <= rows ? lines : [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more lines`];
  return HOME + shown.map((line) => cut(line, columns) + CLEAR_LINE).join('\n') + CLEAR_REST;
}

/** Colours take no room, and end with the line. */
function cut(line: string, columns: number): string {
  let left = columns;
  let out = '';
  for (const part of line.split(/(\u001b\[\d+m)/)) {
    if (part.startsWith('\u001b')) {
      out += part;
      continue;
    }
    out += part.slice(0, left);
    left -= Math.min(left, part.length);
  }
  return out;
}

/** `q`, Escape or Ctrl-C. */
function pressedKeys(end: () => void): Disposable {
  const { stdin } = process;
  if (!stdin.isTTY) return { [Symbol.dispose]: () => {} };
  const onKey = (key: Buffer): void => {
    if (['q', '\u0003', '\u001b'].includes(key.toString())) end();
  };
  stdin.setRawMode(true).on('data', onKey).resume();
  return {
    [Symbol.dispose]: () => {
      stdin.setRawMode(false).off('data', onKey).pause();
    },
  };
}
