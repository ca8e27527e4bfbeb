/** What a client received, as answers. Bytes are latin1 characters. */
import type { Field } from './strict_reader.ts';

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly fields: readonly Field[];
  readonly body: string;
}

export interface Answers {
  /** The final answers that are complete; interim ones are left out. */
  readonly answers: readonly Answer[];
  /** What follows them. */
  readonly rest: string;
}

/** Reads the answers to requests of the given methods; `ended`: the connection was ended by the other side. */
export function readAnswers(text: string, methods: readonly string[], ended = false): Answers {
  const answers: Answer[] = [];
  for (let at = 0; ;) {
    const incomplete = { answers, rest: text.slice(at) };
    const headEnd = text.indexOf('\r\n\r\n', at);
    if (headEnd < 0) return incomplete;
    const [statusLine = '', ...lines] = text.slice(at, headEnd).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1] ?? 0);
    const fields = lines.map((line): Field => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
    const bodyAt = headEnd + 4;
    if (status >= 100 && status < 200) {
      at = bodyAt;
      continue;
    }
    const answer: Answer = { status, fields, body: '' };
    const body = readBody(text, bodyAt, answer, methods[answers.length] ?? '', ended);
    if (body === null) return incomplete;
    answers.push({ ...answer, body: body.content });
    at = body.end;
  }
}

export function valueOf({ fields }: Answer, name: string): string | undefined {
  return fields.find(([key]) => key === name)?.[1];
}

export function closes(answer: Answer): boolean {
  return valueOf(answer, 'connection')?.toLowerCase() === 'close';
}

function readBody(
  text: string,
  at: number,
  answer: Answer,
  method: string,
  ended: boolean,
): { readonly content: string; readonly end: number } | null {
  const none = { content: '', end: at };
  if (answer.status === 204 || answer.status === 304) return none;
  // Of a request that was refused nobody may have known that it is HEAD.
  if (method === 'HEAD' && !closes(answer)) return none;
  if (ended && text.length === at && (method === 'HEAD' || answer.status >= 400)) return none;
  if (valueOf(answer, 'transfer-encoding') === 'chunked') return readChunks(text, at);
  const given = valueOf(answer, 'content-length');
  if (given === undefined) return ended ? { content: text.slice(at), end: text.length } : null;
  const end = at + Number(given);
  return text.length < end ? null : { content: text.slice(at, end), end };
}

function readChunks(text: string, start: number): { readonly content: string; readonly end: number } | null {
  let content = '';
  for (let at = start; ;) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    const dataEnd = lineEnd + 2 + size;
    if (text.length < dataEnd + 2) return null;
    if (size === 0) return { content, end: dataEnd + 2 };
    content += text.slice(lineEnd + 2, dataEnd);
    at = dataEnd + 2;
  }
}
