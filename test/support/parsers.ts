/** Servers that people run behind a proxy, asked how they read given bytes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { FIXTURES } from './daemon.ts';
import { eventually } from './eventually.ts';
import { inLanes } from './lanes.ts';
import { show } from './strictness.ts';
import type { Message } from './strict_reader.ts';
import { readAnswers, valueOf } from './answers.ts';

/** A request as it was understood: method, target and body (latin1). */
type Understood = readonly [method: string, target: string, body: string];

interface Parser extends AsyncDisposable {
  readonly name: string;
  /** How it reads the bytes, and what follows them on the same connection; a string says what went wrong. */
  read(bytes: string): Promise<readonly Understood[] | string>;
}

/** What is sent after the bytes: had the server taken more or less of them for the message, this would not come out whole. */
const CANARY: Understood = ['GET', '/canary', ''];
const CANARY_BYTES = 'GET /canary HTTP/1.1\r\nHost: a\r\n\r\n';
const ANSWER_MS = 10_000;
const ENV = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };

export interface ReadByParsers {
  /** How many different messages there were. */
  readonly count: number;
  readonly problems: readonly string[];
}

/** Has node:http, gunicorn and uvicorn, their sockets in `folder`, read each message that differs from the others. */
export async function readByParsers(folder: string, messages: readonly Message[]): Promise<ReadByParsers> {
  // What the proxy adds is different every time, and of no interest here.
  const shapeOf = ({ raw }: Message): string => raw.replace(/(?<=\r\nX-(?:Request-Id|Forwarded-For): )[^\r]+/g, '-');
  const shapes = new Map(messages.map((message) => [shapeOf(message), message]));
  const problems: string[] = [];
  await Promise.all(
    (await startParsers(folder)).map(async (started) => {
      await using parser = started;
      await inLanes(shapes.values(), 16, async ({ method, target, body, raw }) => {
        const got = await parser.read(raw);
        if (isDeepStrictEqual(got, [[method, target, body], CANARY])) return;
        problems.push(`${parser.name}: ${JSON.stringify(got)}\n  read of ${show(raw)}`);
      });
    }),
  );
  return { count: shapes.size, problems };
}

async function startParsers(folder: string): Promise<readonly Parser[]> {
  const socketOf = (name: string): string => path.join(folder, `${name}.sock`);
  const gunicorn =
    '-m gunicorn recorder:wsgi --worker-class gthread --threads 16 --graceful-timeout 1 --log-level error ' +
    `--limit-request-line 16380 --limit-request-fields 200 --limit-request-field_size 16380 --bind unix:${socketOf('gunicorn')}`;
  const uvicorn = `-m uvicorn recorder:asgi --http h11 --log-level error --no-access-log --uds ${socketOf('uvicorn')}`;
  return await Promise.all([
    startNode(socketOf('node')),
    startPython('gunicorn', gunicorn, socketOf('gunicorn')),
    startPython('uvicorn', uvicorn, socketOf('uvicorn')),
  ]);
}

async function startNode(socket: string): Promise<Parser> {
  const server = http.createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const understood = [request.method, request.url, Buffer.concat(chunks).toString('latin1')];
      response.setHeader('X-Reading', Buffer.from(JSON.stringify(understood)).toString('base64'));
      response.setHeader('Content-Length', 0);
      response.end();
    });
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    name: 'node:http',
    read: (bytes) => ask(socket, bytes),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function startPython(name: string, line: string, socket: string): Promise<Parser> {
  // Where Debian's own modules are, whichever python comes first.
  const child = spawn('/usr/bin/python3', line.split(' '), { cwd: FIXTURES, env: ENV, stdio: 'inherit' });
  const exited = once(child, 'exit');
  await eventually(() => ask(socket, CANARY_BYTES).then((answer) => typeof answer !== 'string'), { withinMs: 20_000 });
  return {
    name,
    read: (bytes) => ask(socket, bytes),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

function ask(socketPath: string, bytes: string): Promise<readonly Understood[] | string> {
  return new Promise((resolve) => {
    const socket = net.connect({ path: socketPath });
    let text = '';
    let canarySent = false;
    const timer = setTimeout(() => finish(`no answer; so far ${JSON.stringify(text)}`), ANSWER_MS);
    const finish = (result: readonly Understood[] | string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    socket.on('error', (error) => finish(error.message));
    socket.on('end', () => finish(`it hung up; so far ${JSON.stringify(text)}`));
    socket.on('connect', () => socket.write(bytes, 'latin1'));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const { answers } = readAnswers(text, []);
      if (answers.length >= 2) {
        const readings = answers.map((answer) => valueOf(answer, 'x-reading') ?? '');
        if (readings.includes('')) finish(`it refused: ${JSON.stringify(text)}`);
        else finish(readings.map((reading) => JSON.parse(Buffer.from(reading, 'base64').toString()) as Understood));
      } else if (answers.length === 1 && !canarySent) {
        canarySent = true;
        socket.write(CANARY_BYTES, 'latin1');
      }
    });
  });
}
