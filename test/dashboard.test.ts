/** The page at the metrics address, in a real browser: it shows what is true, and asks nobody but the daemon. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startChromium } from './support/chromium.ts';
import type { Browser } from './support/chromium.ts';
import { freePort, RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

let daemon: Daemon;
let browser: Browser;
let origin: string;
before(async () => {
  const port = await freePort();
  origin = `http://localhost:${port}`;
  daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]
metrics: { address: "127.0.0.1:${port}" }
${RECORDING_SERVICE}
  jobs: { command: [sleep, "1000"], health_check: process, workers: 1 }
`,
  });
  browser = await startChromium({ ca: daemon.ca });
  await browser.open(`${origin}/`);
});
after(async () => {
  await browser?.[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
});

const text = async (selector: string): Promise<string> =>
  String(await browser.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`));

test('shows services, workers, certificates and entrypoints', async () => {
  await eventually(async () => (await text('#link')) === 'live', { withinMs: 15_000 });
  assert.match(await text('#about'), new RegExp(`pid ${daemon.pid}, up `));
  assert.match(await text('[data-service=web]'), /^web\s+up\s+workers\s+2 of 2\s/);
  const { services } = await daemon.status();
  for (const { id, pid } of services.flatMap(({ workers }) => workers)) {
    assert.match(await text('#workers'), new RegExp(`${id}\\s+ready\\s+${pid}\\s`));
  }
  assert.match(await text('#certificates'), /^localhost\s+\d+d \d+h left, renewed from /);
  assert.match(await text('#listeners'), new RegExp(`https\\s+\\S*:${daemon.ports.https}\\s+yes`));
  assert.equal(await browser.evaluate("document.querySelectorAll('#charts canvas').length"), 6);
});

test('a worker that is killed is an event, a restart and a reason, without a reload of the page', async () => {
  const [victim] = (await daemon.status()).services.find(({ name }) => name === 'web')?.workers ?? [];
  process.kill(victim?.pid ?? assert.fail(), 'SIGKILL');
  await eventually(async () => /worker_exited.*\n?.*signal SIGKILL/.test(await text('#events')), { withinMs: 10_000 });
  await eventually(async () => /1 \w+\s+.*SIGKILL/.test(await text('#workers')), { withinMs: 10_000 });
});

test('what is wrong is told at the top', async () => {
  assert.equal(await text('#problems'), '');
  await daemon.verb('pause', 'web', '--message', '<b>back</b> at noon');
  await eventually(async () => (await text('#problems')) === 'web is paused: <b>back</b> at noon', {
    withinMs: 10_000,
  });
  await daemon.verb('resume', 'web');
  await eventually(async () => (await text('#problems')) === '', { withinMs: 10_000 });
});

test('a service is chosen by keyboard', async () => {
  await browser.evaluate("document.querySelector('#choice input').focus()");
  await browser.press('ArrowRight');
  assert.equal((await text('#choice label:has(:checked)')).trim(), 'web');
  assert.equal(await browser.evaluate("document.activeElement.matches('#choice input:checked')"), true);
});

test('nothing is asked of anybody but the daemon, and nothing is refused by the page’s own policy', async () => {
  const asked = browser.events('Network.requestWillBeSent').map(({ request }) => (request as { url: string }).url);
  assert.ok(asked.length > 5);
  assert.deepEqual(
    asked.filter((url) => !url.startsWith(`${origin}/`)),
    [],
  );
  const problems = browser.events('Log.entryAdded').map(({ entry }) => (entry as { text: string }).text);
  assert.deepEqual(problems, []);
  const { stdout } = await run('curl', ['-sSi', `${origin}/`]);
  assert.match(stdout, /^content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';/im);
  assert.match(stdout, /frame-ancestors 'none'/);
});

test('a page from elsewhere that was given our address learns nothing', async () => {
  const { stdout } = await run('curl', ['-sSi', '-H', 'Host: evil.example', `${origin}/dashboard/feed`]);
  assert.match(stdout, /^HTTP\/1\.1 403 /);
});

test('it says when the daemon does not answer any more', async () => {
  daemon.child.kill('SIGKILL');
  await eventually(async () => (await text('#link')).includes('what is shown is old'), { withinMs: 10_000 });
});
