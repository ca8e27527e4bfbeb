/** One process of a crowd: opens its connections at a steady pace, keeps them in their manner, tells what became of them. */
import net from 'node:net';
import tls from 'node:tls';
import type { Manner, Order, Report } from './crowd.ts';
import { frame, HEADERS, headers, INITIAL_WINDOW_SIZE, SETTINGS, uint32, WINDOW_UPDATE } from './frames.ts';

const DRIP_MS = 3_000;
/** How often a slow reader takes what has come: what a socket's buffer holds, some tens of KiB. */
const SIP_MS = 10_000;
/** So many handshakes at once; more would only wait for each other. */
const MAX_PENDING = 100;
const LARGE = '/bytes?size=100000000';

const order = JSON.parse(process.argv[2] ?? '') as Order;
const authority = `localhost:${order.port}`;
const report: Report = { ready: 0, gone: 0, failed: 0, livedMs: [] };
const secureContext = tls.createSecureContext();
let pending = 0;
let opened = 0;

function everySoOften(socket: net.Socket, ms: number, act: () => void): void {
  const timer = setInterval(act, ms);
  socket.once('close', () => clearInterval(timer));
}

function http1(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: ${authority}\r\n`;
}

/** Wide windows, so that TCP is what holds the answer up. */
const WINDOW = 2 ** 30;
const WIDE = frame(SETTINGS, 0, 0, Buffer.concat([INITIAL_WINDOW_SIZE, uint32(WINDOW)]));
const WIDER = frame(WINDOW_UPDATE, 0, 0, uint32(WINDOW));
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
function http2(target: string, settings = frame(SETTINGS, 0, 0)): Buffer {
  const fields = { ':method': 'GET', ':scheme': 'https', ':authority': authority, ':path': target };
  return Buffer.concat([PREFACE, settings, headers(1, Object.entries(fields))]);
}

/** Asks, and from then on takes what has come only now and then. */
function readSlowly(socket: net.Socket, request: string | Buffer): void {
  socket.write(request);
  socket.on('data', () => socket.pause()).pause();
  everySoOften(socket, SIP_MS, () => socket.resume());
}

/** Resolves what was received when `begins` finds the answer in it. */
function ask(
  socket: net.Socket,
  request: string | Buffer,
  begins: (bytes: Buffer) => boolean,
  ready: () => void,
): void {
  let received: Buffer | null = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    if (received === null) return;
    received = Buffer.concat([received, chunk]);
    if (!begins(received)) return;
    received = null;
    ready();
  });
  socket.write(request);
}

function hasAnswerFrame(bytes: Buffer): boolean {
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === HEADERS) return true;
  }
  return false;
}

const HTTP2: readonly Manner[] = ['preface', 'slow_reader_http2', 'shut_window', 'idle_http2'];

/** What each does once it is connected; calls `ready` when it is as it means to stay. */
const MANNERS: Record<Manner, (socket: net.Socket, ready: () => void) => void> = {
  silent: (socket, ready) => {
    socket.resume();
    ready();
  },
  preface: (socket, ready) => {
    socket.resume().write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)]));
    ready();
  },
  slowloris: (socket, ready) => {
    socket.resume().write(`${http1('/')}X-Slow: `);
    everySoOften(socket, DRIP_MS, () => socket.write('a'));
    ready();
  },
  slow_reader: (socket, ready) => {
    readSlowly(socket, `${http1(LARGE)}\r\n`);
    ready();
  },
  slow_reader_http2: (socket, ready) => {
    readSlowly(socket, http2(LARGE, Buffer.concat([WIDE, WIDER])));
    ready();
  },
  shut_window: (socket, ready) => {
    socket.resume().write(http2(LARGE));
    ready();
  },
  idle: (socket, ready) => ask(socket, `${http1('/')}\r\n`, (bytes) => bytes.includes('HTTP/1.1 200'), ready),
  idle_http2: (socket, ready) => ask(socket, http2('/'), hasAnswerFrame, ready),
};

function connect(): net.Socket {
  const { manner, port, localAddress } = order;
  const to = { port, host: '127.0.0.1', localAddress };
  if (manner === 'silent') return net.connect(to);
  const protocol = HTTP2.includes(manner) ? 'h2' : 'http/1.1';
  return tls.connect({
    ...to,
    servername: 'localhost',
    rejectUnauthorized: false,
    secureContext,
    ALPNProtocols: [protocol],
  });
}

function open(): void {
  opened++;
  pending++;
  const socket = connect();
  let readyAt = 0;
  let over = false;
  const onReady = (): void => {
    pending--;
    report.ready++;
    readyAt = performance.now();
  };
  const onOver = (): void => {
    if (over) return;
    over = true;
    if (readyAt === 0) {
      pending--;
      report.failed++;
    } else {
      report.gone++;
      report.livedMs.push(performance.now() - readyAt);
    }
  };
  socket.once(order.manner === 'silent' ? 'connect' : 'secureConnect', () => MANNERS[order.manner](socket, onReady));
  socket
    .on('error', () => {})
    .on('end', onOver)
    .on('close', onOver);
}

const TICK_MS = 50;
const started = performance.now();
setInterval(() => {
  const due = Math.min(order.count, ((performance.now() - started) / 1000) * order.perSecond);
  while (opened < due && pending < MAX_PENDING) open();
}, TICK_MS);
setInterval(() => process.send?.(report), 200);
process.on('disconnect', () => process.exit());
