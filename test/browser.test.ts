/** A real browser in front: HTTP/2 with everything a page does over it, WebSockets beside it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startChromium } from './support/chromium.ts';
import type { Browser } from './support/chromium.ts';
import { FIXTURES, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';

let daemon: Daemon;
let browser: Browser;
before(async () => {
  daemon = await startDaemon({
    config: `proxy_processes: 2
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: 'node browser_worker.mjs {socket}', directory: ${FIXTURES}, workers: 1 }
`,
  });
  browser = await startChromium({ ca: daemon.ca });
  await browser.open(`http://localhost:${daemon.ports.http}/page?from=http`);
});
after(async () => {
  await browser?.[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
});

interface Response {
  readonly url: string;
  readonly status: number;
  readonly protocol: string;
  readonly connectionId: number;
}

function responses(pattern: RegExp): Response[] {
  return browser
    .events('Network.responseReceived')
    .map(({ response }) => response as Response)
    .filter(({ url }) => pattern.test(url));
}

/** What the page itself knows of how its resources came. */
function protocols(pattern: string): Promise<string[]> {
  return browser.run(
    (pattern) =>
      performance
        .getEntriesByType('resource')
        .filter(({ name }) => name.includes(pattern))
        .map((entry) => (entry as unknown as { nextHopProtocol: string }).nextHopProtocol),
    pattern,
  );
}

test('a page asked for over http:// is redirected once and comes over HTTP/2', async () => {
  const redirects = browser
    .events('Network.requestWillBeSent')
    .flatMap(({ redirectResponse }) => (redirectResponse === undefined ? [] : (redirectResponse as Response)));
  assert.deepEqual(
    redirects.map(({ status, url }) => [status, url]),
    [[308, `http://localhost:${daemon.ports.http}/page?from=http`]],
  );
  const [page] = responses(/\/page/);
  assert.deepEqual([page?.status, page?.protocol, page?.url], [200, 'h2', `${daemon.origin}/page?from=http`]);
});

test('bodies of any kind arrive whole', async () => {
  const seen = await browser.run(async () => {
    const digest = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
      [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join('');
    const ask = async (init: RequestInit): Promise<Record<string, unknown>> =>
      (await (await fetch('/request', init)).json()) as Record<string, unknown>;
    const large = new Uint8Array(20_000_000).map((_, i) => (i * 31) >> 5);
    const pieces = Array.from({ length: 20 }, (_, i) => large.slice(i * 1_000_000, (i + 1) * 1_000_000));
    const streamed = new ReadableStream({
      pull: (controller) => {
        const piece = pieces.shift();
        if (piece === undefined) controller.close();
        else controller.enqueue(piece);
      },
    });
    return {
      get: await ask({}),
      form: await ask({ method: 'POST', body: new URLSearchParams({ a: '1', b: 'ü' }) }),
      large: await ask({ method: 'PUT', body: large }),
      streamed: await ask({ method: 'POST', body: streamed, duplex: 'half' } as RequestInit),
      sha256: await digest(large),
    };
  });
  assert.deepEqual([seen.get['method'], seen.get['length']], ['GET', 0]);
  assert.deepEqual([seen.form['method'], seen.form['length']], ['POST', 'a=1&b=%C3%BC'.length]);
  assert.deepEqual([seen.large['length'], seen.large['sha256']], [20_000_000, seen.sha256]);
  assert.deepEqual([seen.streamed['length'], seen.streamed['sha256']], [20_000_000, seen.sha256]);
  assert.deepEqual(await protocols('/request'), Array(4).fill('h2'));
});

test('pieces of an answer are there before the next is sent', async () => {
  const text = await browser.run(async () => {
    const response = await fetch('/stream?name=pieces');
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (let number = 1; number <= 5; number++) {
      text += (await reader.read()).value;
      await fetch(`/continue?name=pieces&number=${number}`);
    }
    text += (await reader.read()).value;
    await reader.cancel();
    return text;
  });
  assert.equal(text, 'piece 0;piece 1;piece 2;piece 3;piece 4;piece 5;');
  // The worker hears that nobody reads any more.
  await eventually(async () =>
    browser.run(async () => (await (await fetch('/continue?name=pieces&number=6')).json()) === false),
  );
});

test('events come one by one, and go on with a new worker when theirs ends', async () => {
  const first = await browser.run(async () => {
    const source = new EventSource('/events?name=events');
    const state = { source, hellos: [] as string[], events: [] as string[] };
    Object.assign(globalThis, { state });
    source.addEventListener('hello', (event) => state.hellos.push(String((event as MessageEvent).data)));
    const next = (): Promise<void> =>
      new Promise(
        (resolve) =>
          (source.onmessage = ({ data }) => {
            state.events.push(String(data));
            resolve();
          }),
      );
    await new Promise((resolve) => source.addEventListener('hello', resolve, { once: true }));
    for (let number = 1; number <= 3; number++) {
      const came = next();
      await fetch(`/continue?name=events&number=${number}`);
      await came;
    }
    return { hellos: state.hellos, events: state.events };
  });
  assert.deepEqual(first.events, ['event 1', 'event 2', 'event 3']);
  const pid = (await daemon.status()).services[0]?.workers[0]?.pid ?? 0;
  assert.equal(first.hellos[0], `${pid} `);
  process.kill(pid, 'SIGKILL');
  const hellos = await eventually(async () => {
    const hellos = await browser.run(() => (globalThis as unknown as { state: { hellos: string[] } }).state.hellos);
    return hellos.length > 1 && hellos;
  });
  assert.match(hellos[1] ?? '', /^\d+ 3$/, 'the browser says what it had last');
  assert.notEqual(hellos[1], `${pid} 3`);
  await browser.run(() => (globalThis as unknown as { state: { source: EventSource } }).state.source.close());
});

test('a WebSocket carries text, a megabyte and close codes, both ways', async () => {
  const seen = await browser.run(async () => {
    const open = async (): Promise<WebSocket> => {
      const socket = new WebSocket('/socket');
      socket.binaryType = 'arraybuffer';
      await new Promise((resolve) => (socket.onopen = resolve));
      return socket;
    };
    const ask = (socket: WebSocket, message: string | Uint8Array<ArrayBuffer>): Promise<string | ArrayBuffer> =>
      new Promise((resolve) => {
        socket.onmessage = ({ data }) => resolve(data as string | ArrayBuffer);
        socket.send(message);
      });
    const close = (socket: WebSocket): Promise<[number, string]> =>
      new Promise((resolve) => (socket.onclose = ({ code, reason }) => resolve([code, reason])));
    const socket = await open();
    const text = await ask(socket, 'grüße');
    const sent = new Uint8Array(1_000_000).map((_, i) => (i * 7) >> 3);
    const received = new Uint8Array((await ask(socket, sent)) as ArrayBuffer);
    const same = received.length === sent.length && received.every((byte, i) => byte === sent[i]);
    const byWorker = close(socket);
    socket.send('close');
    const other = await open();
    const byClient = close(other);
    other.close(4321, 'enough');
    await byClient;
    const third = await open();
    let heard: unknown;
    // The worker may hear of it after the client.
    for (let i = 0; i < 200 && !String(heard).includes('4321'); i++) {
      heard = await ask(third, 'closed?');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    third.close();
    return { text, same, byWorker: await byWorker, heard: String(heard) };
  });
  assert.deepEqual([seen.text, seen.same, seen.byWorker], ['grüße', true, [4001, 'as asked']]);
  assert.match(seen.heard, /"4321 enough"/);
  const line = await eventually(() => daemon.events('access').find(({ target }) => target === '/socket'));
  assert.deepEqual([line['status'], line['protocol']], [101, 'HTTP/1.1']);
});

test('cookies come back, all of them in one field', async () => {
  const cookie = await browser.run(async () => {
    await fetch('/login');
    const { headers } = (await (await fetch('/request')).json()) as { headers: Record<string, string> };
    return headers['cookie'];
  });
  assert.equal(cookie, 'first=one; second=two');
});

test('a hundred requests at once share one connection', async () => {
  const answers = await browser.run(() =>
    Promise.all(Array.from({ length: 100 }, async (_, i) => (await fetch(`/tiny?i=${i}`)).text())),
  );
  assert.deepEqual(
    answers,
    Array.from({ length: 100 }, (_, i) => `tiny ${i}`),
  );
  assert.deepEqual(await protocols('/tiny'), Array(100).fill('h2'));
  const tiny = await eventually(() => {
    const found = responses(/\/tiny/);
    return found.length === 100 && found;
  });
  assert.equal(new Set(tiny.map(({ connectionId }) => connectionId)).size, 1);
});
