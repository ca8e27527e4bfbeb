/** One HTTP/2 connection of a client, on node:http2: its clocks, its limits, and a stream for each request. */
import { constants, performServerHandshake } from 'node:http2';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type tls from 'node:tls';
import type { Swept } from '../clock.ts';
import type { Entry, Front } from '../front.ts';
import type { ClientInfo } from '../client_identity.ts';
import { Http2ClientStream } from './client_stream.ts';
import type { ConnectionOutput } from './client_stream.ts';
import type { Holder } from './unsent_budget.ts';

/** What a client may send before a worker takes it: of one stream, and of the whole connection. */
const STREAM_WINDOW = 256 * 1024;
const CONNECTION_WINDOW = 1024 * 1024;
/** When more of its answers waits for the client, each stream has but one piece at a time read for it. */
const UNSENT_MARK = 512 * 1024;
/** MiB for streams, header tables and queued data of one connection. */
const MAX_SESSION_MEMORY = 4;
/** Fields of a head before the stream is reset; it must have room for a browser's cookies, each a field of its own. */
const MAX_PAIRS = 256;
/** Streams opened and reset: so many at once, so many a second on; then GOAWAY (CVE-2023-44487). */
const RESET_BURST = 200;
const RESET_RATE = 30;
/** PING and SETTINGS frames of half a second; each costs an answer (CVE-2019-9512, CVE-2019-9515). */
const MAX_CONTROL_FRAMES = 50;
const MAX_INVALID_FRAMES = 50;
const END_OF_STREAM = constants.NGHTTP2_FLAG_END_STREAM;

export class Http2ClientConnection implements Swept, Holder, ConnectionOutput {
  given = 0;
  readonly #session: ServerHttp2Session;
  readonly #front: Front;
  readonly #entry: Entry;
  readonly #client: ClientInfo;
  readonly #onClose: () => void;
  readonly #streams = new Set<Http2ClientStream>();
  /** By when a request must come; node:http2 has no clocks of its own. */
  #deadline: number;
  #controlFrames = 0;
  #requests = 0;
  /** No less than what waits for the client. */
  #mayWait = 0;
  #closed = false;

  constructor(socket: tls.TLSSocket, front: Front, entry: Entry, client: ClientInfo, onClose: () => void) {
    this.#front = front;
    this.#entry = entry;
    this.#client = client;
    this.#onClose = onClose;
    const { headersMs, maxStreams, maxHeaderSize } = entry.limits;
    // A connection that says nothing gets no more time than a head may take.
    this.#deadline = front.clock.now() + headersMs;
    this.#session = performServerHandshake(socket, {
      maxSessionMemory: MAX_SESSION_MEMORY,
      maxHeaderListPairs: MAX_PAIRS,
      maxSessionInvalidFrames: MAX_INVALID_FRAMES,
      streamResetBurst: RESET_BURST,
      streamResetRate: RESET_RATE,
      settings: {
        maxConcurrentStreams: maxStreams,
        initialWindowSize: STREAM_WINDOW,
        maxHeaderListSize: maxHeaderSize,
        enableConnectProtocol: false,
      },
    });
    this.#session
      .on('stream', (stream, _headers, flags, raw) => this.#onStream(stream, flags, raw))
      .on('ping', () => this.#onControlFrame())
      .on('remoteSettings', () => this.#onControlFrame())
      .on('error', () => {})
      .on('close', () => this.#onGone());
    socket.on('error', () => {});
    this.#session.setLocalWindowSize(CONNECTION_WINDOW);
    front.clock.add(this);
    front.unsent.add(this);
  }

  /** Says GOAWAY; what is being answered is answered, nothing new is taken. */
  drain(): void {
    if (!this.#session.closed && !this.#session.destroyed) this.#session.close();
  }

  destroy(): void {
    if (!this.#session.destroyed) this.#session.destroy();
  }

  unsentBytes(): number {
    let bytes = 0;
    for (const stream of this.#streams) bytes += stream.unsentBytes;
    return bytes;
  }

  get hasRoom(): boolean {
    if (this.#mayWait < UNSENT_MARK) return true;
    // Counted only when as much was given since as may wait.
    this.#mayWait = this.unsentBytes();
    return this.#mayWait < UNSENT_MARK;
  }

  onGiven(bytes: number): void {
    this.given += bytes;
    this.#mayWait += bytes;
    this.#front.unsent.onGiven(bytes);
  }

  evict(): void {
    if (this.#session.destroyed) return;
    this.#session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.#session.destroy();
  }

  sweep(now: number): void {
    this.#controlFrames = 0;
    for (const stream of this.#streams) stream.sweep(now);
    if (this.#streams.size > 0 || now < this.#deadline) return;
    if (this.#session.closed) this.destroy();
    else this.drain();
    this.#deadline = now + this.#entry.limits.headersMs;
  }

  #onStream(stream: ServerHttp2Stream, flags: number, raw: readonly string[]): void {
    const request = new Http2ClientStream(stream, this.#front, this.#entry, this.#client, this);
    this.#streams.add(request);
    stream.on('close', () => {
      this.#streams.delete(request);
      this.#deadline = this.#front.clock.now() + this.#entry.limits.idleMs;
    });
    if (++this.#requests === this.#entry.limits.maxRequests) this.drain();
    request.begin(raw, (flags & END_OF_STREAM) !== 0);
  }

  #onControlFrame(): void {
    if (++this.#controlFrames > MAX_CONTROL_FRAMES) this.evict();
  }

  #onGone(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#front.clock.delete(this);
    this.#front.unsent.delete(this);
    this.#onClose();
  }
}
