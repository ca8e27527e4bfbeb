/** A real browser, spoken to over its DevTools protocol. */
import { spawn } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { WebSocket } from 'ws';
import { eventually } from './eventually.ts';
import { sleep } from '../../src/lifecycle.ts';

const FLAGS =
  '--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run ' +
  '--disable-background-networking --disable-component-update --disable-sync --disable-extensions ' +
  // What is typed as http:// is asked for as such: the redirect is the proxy's.
  '--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable --remote-debugging-port=0';

export interface Browser extends AsyncDisposable {
  /** Leads its one page to an address and waits until it is loaded. */
  open(url: string): Promise<void>;
  /** Runs a function in the page; it sees its arguments and the page, nothing of its surroundings here. */
  run<Args extends readonly unknown[], T>(script: (...args: Args) => Promise<T> | T, ...args: Args): Promise<T>;
  /** What an expression is in the page, where there is a document. */
  evaluate(expression: string): Promise<unknown>;
  /** Presses a key, as `Tab` or ` `. */
  press(key: string): Promise<void>;
  /** The whole page as PNG, as people see it who like it so. */
  screenshot(file: string, scheme: 'light' | 'dark', width?: number): Promise<void>;
  /** Parameters of the events of one kind so far, such as `Network.responseReceived`. */
  events(method: string): readonly Record<string, unknown>[];
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** `ca`: a file in PEM; what its key has signed is trusted, and nothing else that is not. */
export async function startChromium({ ca }: { readonly ca: string }): Promise<Browser> {
  const profile = mkdtempSync(path.join(os.tmpdir(), 'proxy-chromium-'));
  const key = new X509Certificate(readFileSync(ca)).publicKey.export({ type: 'spki', format: 'der' });
  const trusted = createHash('sha256').update(key).digest('base64');
  const child = spawn(
    'chromium',
    [
      ...FLAGS.split(' '),
      `--ignore-certificate-errors-spki-list=${trusted}`,
      `--user-data-dir=${profile}`,
      'about:blank',
    ],
    // A group of its own: its many processes end with it.
    { detached: true, stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: profile } },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const exited = once(child, 'exit');
  const end = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid, 'SIGKILL');
      await exited;
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  };
  try {
    const address = await eventually(() => /DevTools listening on (ws:\S+)/.exec(said)?.[1], { withinMs: 30_000 });
    const session = await openSession(address);
    return { ...session, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw new Error(`chromium did not start: ${said}`, { cause: error });
  }
}

async function openSession(address: string): Promise<Omit<Browser, typeof Symbol.asyncDispose>> {
  const socket = new WebSocket(address, { perMessageDeflate: false, maxPayload: 0 });
  await once(socket, 'open');
  const events: Message[] = [];
  const waiting = new Map<number, (message: Message) => void>();
  let ids = 0;
  socket.on('message', (data: Buffer) => {
    const message = JSON.parse(data.toString()) as Message;
    if (message.id === undefined) events.push(message);
    else waiting.get(message.id)?.(message);
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    for (const resolve of waiting.values()) resolve({ error: { message: 'chromium is gone' } });
  });
  const send = async (method: string, params: object, sessionId?: unknown): Promise<Record<string, unknown>> => {
    const id = ++ids;
    const answer = new Promise<Message>((resolve) => waiting.set(id, resolve));
    socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await answer;
    waiting.delete(id);
    if (result === undefined) throw new Error(`${method}: ${error?.message}`);
    return result;
  };
  const of = (method: string): Record<string, unknown>[] =>
    events.flatMap(({ method: of, params = {} }) => (of === method ? [params] : []));

  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const ask = (method: string, params: object = {}): Promise<Record<string, unknown>> =>
    send(method, params, sessionId);
  await ask('Page.enable');
  await ask('Log.enable');
  // Otherwise events bring whole bodies along.
  await ask('Network.enable', { maxPostDataSize: 1024 });
  const evaluate = async (expression: string): Promise<unknown> => {
    const answer = await ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const { result, exceptionDetails } = answer as {
      readonly result: { readonly value: unknown; readonly description?: string };
      readonly exceptionDetails?: { readonly text: string };
    };
    if (exceptionDetails !== undefined) throw new Error(result.description ?? exceptionDetails.text);
    return result.value;
  };
  return {
    events: of,
    open: async (url) => {
      const loaded = of('Page.loadEventFired').length;
      const { errorText } = await ask('Page.navigate', { url });
      if (errorText !== undefined) throw new Error(`${url}: ${String(errorText)}`);
      await eventually(() => of('Page.loadEventFired').length > loaded);
    },
    press: async (key) => {
      const text = key.length === 1 ? { text: key } : {};
      const code = key === ' ' ? 32 : key === 'Tab' ? 9 : key === 'ArrowRight' ? 39 : 0;
      await ask('Input.dispatchKeyEvent', { type: 'keyDown', key, windowsVirtualKeyCode: code, ...text });
      await ask('Input.dispatchKeyEvent', { type: 'keyUp', key, windowsVirtualKeyCode: code });
    },
    screenshot: async (file, scheme, width = 1280) => {
      await ask('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
      const size = { width, height: 900, deviceScaleFactor: 1, mobile: false };
      await ask('Emulation.setDeviceMetricsOverride', size);
      // What was drawn for another width or scheme is drawn anew.
      await sleep(500);
      const { data } = await ask('Page.captureScreenshot', { captureBeyondViewport: true });
      writeFileSync(file, Buffer.from(String(data), 'base64'));
    },
    evaluate,
    run: async <Args extends readonly unknown[], T>(script: (...args: Args) => Promise<T> | T, ...args: Args) =>
      // What it returns came back as JSON.
      (await evaluate(`(${String(script)})(...${JSON.stringify(args)})`)) as T,
  };
}
