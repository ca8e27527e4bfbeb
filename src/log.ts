/**
 * Events as data. Every line is one event with fields; whoever creates the logger says where lines go, so that one
 * process (the control plane) is the only writer of the real stdout.
 */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'text' | 'json';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each of its events. */
  with(fields: LogFields): Logger;
}

export interface LoggedEvent {
  readonly at: Date;
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Takes one whole line, newline included. Must not throw. */
  readonly write: (line: string) => void;
  /** Sees each event that is written. Must not throw. */
  readonly observe?: (event: LoggedEvent) => void;
  readonly now?: () => Date;
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLogger(options: LoggerOptions, base: LogFields = {}): Logger {
  const { level, format, write, observe, now = () => new Date() } = options;
  const emit = (at: LogLevel, event: string, fields: LogFields | undefined): void => {
    if (RANK[at] < RANK[level]) return;
    let logged: LoggedEvent = { at: now(), level: at, event, fields: jsonable({ ...base, ...fields }) };
    let line;
    try {
      line = formatEvent(format, logged);
    } catch (error) {
      // A field that cannot be written is no reason to fail at what was to be told.
      logged = { ...logged, fields: { not_logged: describeError(error) } };
      line = formatEvent(format, logged);
    }
    write(line);
    observe?.(logged);
  };
  return {
    debug: (event, fields) => emit('debug', event, fields),
    info: (event, fields) => emit('info', event, fields),
    warn: (event, fields) => emit('warn', event, fields),
    error: (event, fields) => emit('error', event, fields),
    with: (fields) => createLogger(options, { ...base, ...fields }),
  };
}

export const silentLogger: Logger = createLogger({ level: 'error', format: 'json', write: () => {} });

/** One line. Errors among the fields are told by their message: see `LoggedEvent`. */
export function formatEvent(format: LogFormat, { at, level, event, fields }: LoggedEvent): string {
  if (format === 'json') {
    return escapeControls(JSON.stringify({ time: at.toISOString(), level, event, ...fields })) + '\n';
  }
  let line = `${at.toISOString().slice(11, 23)} ${level === 'info' ? '' : level.toUpperCase() + ' '}${event}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    line += ` ${key}=${/^[\w./:@+,%*[\]-]+$/.test(text) || typeof value !== 'string' ? text : JSON.stringify(text)}`;
  }
  return escapeControls(line) + '\n';
}

/** Errors become their message and code: a stack trace is no message to an operator. */
function jsonable(fields: LogFields): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) out[key] = value instanceof Error ? describeError(value) : value;
  return out;
}

/** One line for a person: the message, the code if the message lacks it, and the cause's. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code: unknown = 'code' in error ? error.code : undefined;
  let text = error.message || error.name;
  if (typeof code === 'string' && !text.includes(code)) text += ` (${code})`;
  if (error.cause instanceof Error && !text.includes(error.cause.message)) text += `: ${describeError(error.cause)}`;
  return text;
}

/** C0 beyond what JSON escapes, DEL, C1 and bidirectional controls: none may reach a terminal or split a line. */
export function escapeControls(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
