/**
 * A socket's bytes past the streams' machinery: what is read lands in one buffer that all connections of the process share,
 * what is written goes to the socket's handle at once, without an object, a callback and a tick for each. Connecting,
 * handshakes, ends, errors and closing stay node:net's and node:tls's own.
 *
 * The handle is undocumented: all that leans on it is in this file, and missing, it ends the process at its start.
 */
import net from 'node:net';
import tls from 'node:tls';

export interface WireListener {
  onConnect(): void;
  /** `bytes` are lent: once this returns they are overwritten. */
  onBytes(bytes: Buffer): void;
  /** There was no room, and now there is. */
  onDrain(): void;
  /** The other side has said all it has to say. */
  onEnd(): void;
  /** The socket is closed, or about to be. */
  onGone(error?: Error): void;
}

/** A write whose end has not been seen yet. */
interface WriteRequest {
  /** Set by Node when it has ended and nobody listens. */
  readonly writeStatus: number | null;
  oncomplete?: (status: number) => void;
}

interface Handle {
  /** Under TLS: the connection's own. */
  readonly _parent?: Handle;
  readonly writeQueueSize: number;
  readonly bytesWritten: number;
  useUserBuffer(buffer: Buffer): void;
  /** Returns 0 when the system took all, an error number, or the request that goes on with the rest. */
  writeBuffer(request: null, bytes: Buffer): number | WriteRequest;
  writeLatin1String(request: null, text: string): number | WriteRequest;
}

const WIRE = Symbol('wire');
/** Of node:net, for what its option `onread` sets: sockets that a server accepts have no such option. */
const READ_BUFFER: unique symbol = symbolOfSockets('kBuffer') as never;
const READ_CALLBACK: unique symbol = symbolOfSockets('kBufferCb') as never;
const READ_NEXT_BUFFER: unique symbol = symbolOfSockets('kBufferGen') as never;
const READS_LITTLE = Symbol('readsLittle');

interface WiredSocket extends net.Socket {
  /** Under TLS: the connection's own. */
  readonly _parent: net.Socket | null;
  _handle: Handle | null;
  [WIRE]: WireListener;
  [READ_BUFFER]: Buffer;
  [READ_CALLBACK]: (this: WiredSocket, length: number) => boolean;
  [READ_NEXT_BUFFER]: (() => Buffer) | null;
  [READS_LITTLE]?: boolean;
}

/** libuv's own choice. */
const READ_SIZE = 64 * 1024;
/** Of who is not yet known to be listened to. */
const LITTLE = 16 * 1024;
/** What may wait for a slow reader before the writer is to pause. */
const HIGH_WATER = 128 * 1024;
/** A write this large under way is waited for rather than added to: what is added must be copied. */
const LARGE_WRITE = 16 * 1024;

const readBuffer = Buffer.allocUnsafeSlow(READ_SIZE);
const littleBuffer = readBuffer.subarray(0, LITTLE);
/** Of the socket whose bytes came last. */
let readsLittle = false;
/**
 * Where bytes for plain sockets lie while they are written. One that the system has not emptied at once is its own until
 * then, and comes back.
 */
const writeBuffers: Buffer[] = [];
const MAX_SPARE = 64;

export class Wire {
  readonly socket: net.Socket;
  readonly #socket: WiredSocket;
  /** TLS encrypts what it is given within the call; a plain socket may come back for it. */
  readonly #secure: boolean;
  #request: WriteRequest | null = null;
  #requestBytes = 0;
  /** Of a plain socket: the memory the request is about. */
  #written: Buffer | null = null;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #drainWanted = false;
  #onIdle: (() => void) | null = null;

  /** Takes over a socket that is connected or about to be; `little`: as `readLittle` says. */
  constructor(socket: net.Socket, listener: WireListener, little = false) {
    const wired = socket as WiredSocket;
    this.socket = socket;
    this.#socket = wired;
    this.#secure = socket instanceof tls.TLSSocket;
    wired[WIRE] = listener;
    wired[READ_BUFFER] = readBuffer;
    wired[READ_CALLBACK] = onRead;
    if (little) this.readLittle(true);
    wired._handle?.useUserBuffer(little ? littleBuffer : readBuffer);
    if (socket.connecting) socket.once('connect', onConnect);
    socket.on('end', onEnd).on('error', onError).on('close', onClose);
    // What was read before, such as what stood behind a header of the PROXY protocol.
    for (let early = readEarly(socket); early !== null; early = readEarly(socket)) {
      const bytes = early;
      queueMicrotask(() => listener.onBytes(bytes));
    }
    socket.resume();
  }

  /** Bytes that the system has not taken yet. */
  get unsent(): number {
    return this.#queuedBytes + this.#underWay;
  }

  /** Bytes that the system has taken. */
  get sent(): number {
    return (this.#socket._handle?.bytesWritten ?? 0) - this.#underWay;
  }

  /** Whether a write goes to the system at once, its bytes not kept; if not, `onDrain` says when. */
  get isIdle(): boolean {
    if (!this.#isBusy()) return true;
    this.#drainWanted = true;
    this.#listenToRequest();
    return false;
  }

  /** Whether more should be written; if not, `onDrain` says when. */
  get hasRoom(): boolean {
    if (!this.#isBusy() || (this.#requestBytes < LARGE_WRITE && this.unsent < HIGH_WATER)) return true;
    this.#drainWanted = true;
    this.#listenToRequest();
    return false;
  }

  /** `bytes` may be changed as soon as this returns. */
  write(bytes: Buffer): void {
    const handle = this.#socket._handle;
    if (handle === null) return;
    if (this.#isBusy()) return this.#enqueue(Buffer.from(bytes));
    this.#send(handle, bytes);
  }

  writeLatin1(text: string): void {
    const handle = this.#socket._handle;
    if (handle === null) return;
    if (this.#isBusy()) return this.#enqueue(Buffer.from(text, 'latin1'));
    this.#dispatched(handle.writeLatin1String(null, text), text.length);
  }

  /** From the next read on, takes little at a time, or again as much as there is. */
  readLittle(little: boolean): void {
    this.#socket[READS_LITTLE] = little;
    this.#socket[READ_NEXT_BUFFER] = nextBuffer;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Tells the other side, behind all that was written, that this is all. */
  end(): void {
    this.#whenIdle(() => this.socket.end());
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Ends it with nothing more said: closed in order, the system would keep what is unsent, megabytes, for minutes more. */
  reset(): void {
    (this.#socket._parent ?? this.socket).resetAndDestroy();
    this.socket.destroy();
  }

  /** Gives the socket away as node:net made it, once all is written. */
  release(take: (socket: net.Socket) => void): void {
    this.#whenIdle(() => {
      const socket = this.#socket;
      socket[READ_CALLBACK] = passOn;
      socket[READ_NEXT_BUFFER] = null;
      socket.off('connect', onConnect).off('end', onEnd).off('error', onError).off('close', onClose);
      take(socket);
    });
  }

  get #underWay(): number {
    const handle = this.#socket._handle;
    if (handle === null || !this.#isBusy()) return 0;
    return (handle._parent ?? handle).writeQueueSize;
  }

  #send(handle: Handle, bytes: Buffer): void {
    if (this.#secure) return this.#dispatched(handle.writeBuffer(null, bytes), bytes.length);
    const { length } = bytes;
    const lasting = length > READ_SIZE ? Buffer.allocUnsafeSlow(length) : takeWriteBuffer();
    bytes.copy(lasting);
    const result = handle.writeBuffer(null, lasting.subarray(0, length));
    this.#dispatched(result, length);
    if (typeof result === 'number') return giveBack(lasting);
    this.#written = lasting;
    this.#listenToRequest();
  }

  #dispatched(result: number | WriteRequest, length: number): void {
    if (typeof result !== 'number') {
      this.#request = result;
      this.#requestBytes = length;
    } else if (result !== 0) {
      this.socket.destroy(new WriteError(result));
    }
  }

  /** Whether a write is under way: TLS takes the next only after it. */
  #isBusy(): boolean {
    if (this.#request === null) return false;
    if (this.#request.writeStatus === null) return true;
    this.#request = null;
    return false;
  }

  #enqueue(bytes: Buffer): void {
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#listenToRequest();
  }

  #whenIdle(then: () => void): void {
    if (!this.#isBusy()) return then();
    this.#onIdle = then;
    this.#listenToRequest();
  }

  /** Most writes have ended before the next, and nobody needs to hear of it. */
  #listenToRequest(): void {
    if (this.#request !== null) this.#request.oncomplete ??= (status) => this.#onComplete(status);
  }

  #onComplete(status: number): void {
    this.#request = null;
    if (this.#written !== null) giveBack(this.#written);
    this.#written = null;
    const handle = this.#socket._handle;
    if (handle === null) return;
    if (status !== 0) return void this.socket.destroy(new WriteError(status));
    if (this.#queue.length > 0) {
      const bytes = Buffer.concat(this.#queue);
      this.#queue = [];
      this.#queuedBytes = 0;
      this.#send(handle, bytes);
      if (this.#isBusy()) return this.#listenToRequest();
    }
    const onIdle = this.#onIdle;
    this.#onIdle = null;
    if (onIdle !== null) return onIdle();
    if (!this.#drainWanted) return;
    this.#drainWanted = false;
    this.#socket[WIRE].onDrain();
  }
}

/** The system did not take bytes; `errno` is its negative number. */
class WriteError extends Error {
  readonly code = 'WRITE_FAILED';
  readonly errno: number;
  constructor(errno: number) {
    super(`write failed with ${errno}`);
    this.errno = errno;
  }
}

function symbolOfSockets(description: string): symbol {
  const found = Object.getOwnPropertySymbols(new net.Socket()).find((symbol) => symbol.description === description);
  if (found === undefined) throw new Error(`Node ${process.version} has no ${description} in its sockets`);
  return found;
}

function takeWriteBuffer(): Buffer {
  return writeBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_SIZE);
}

function giveBack(buffer: Buffer): void {
  if (buffer.length === READ_SIZE && writeBuffers.length < MAX_SPARE) writeBuffers.push(buffer);
}

function readEarly(socket: net.Socket): Buffer | null {
  return socket.read() as Buffer | null;
}

// What every socket calls, as its own method or listener: none has closures of its own.

function onRead(this: WiredSocket, length: number): boolean {
  this[WIRE].onBytes(readBuffer.subarray(0, length));
  readsLittle = this[READS_LITTLE] === true;
  return true;
}

/** Where the next bytes go of the socket whose bytes have just been handed on. */
function nextBuffer(): Buffer {
  return readsLittle ? littleBuffer : readBuffer;
}

/** Of a socket that was given away: back to the streams' machinery. */
function passOn(this: WiredSocket, length: number): boolean {
  return this.push(Buffer.from(readBuffer.subarray(0, length)));
}

function onConnect(this: WiredSocket): void {
  this[WIRE].onConnect();
}

function onEnd(this: WiredSocket): void {
  this[WIRE].onEnd();
}

function onError(this: WiredSocket, error: Error): void {
  this[WIRE].onGone(error);
}

function onClose(this: WiredSocket): void {
  this[WIRE].onGone();
}
