/** The dashboard after load with a crash and a rolling restart in it: looked at in a browser, and compared with /metrics. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { startChromium } from '../support/chromium.ts';
import { freePort, RECORDING_SERVICE, ROOT, startDaemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { h2load } from '../support/h2load.ts';
import { run } from '../support/processes.ts';

export const SUMMARY =
  'after a minute of load with a crash and a rolling restart the dashboard shows what /metrics says; screenshots in test/artefacts (SECONDS=60)';

const RATE = 200;
/** Samples are of 5 s, scrapes are not of the same. */
const TOLERANCE = 0.2;

export async function prove(): Promise<void> {
  const seconds = Number(process.env['SECONDS'] ?? 60);
  const port = await freePort();
  const origin = `http://localhost:${port}`;
  await using daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]
metrics: { address: "127.0.0.1:${port}" }
logging: { access: false }
${RECORDING_SERVICE.replace('workers: 2', 'workers: 3')}
  jobs: { command: [sleep, "1000"], health_check: process, workers: 1 }
`,
  });
  await using browser = await startChromium({ ca: daemon.ca });
  await browser.open(`${origin}/`);
  const text = async (selector: string): Promise<string> =>
    String(await browser.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`));
  const load = h2load(daemon, { protocol: 'h2', connections: 10, streams: 2, seconds, rate: RATE });
  await sleep((seconds * 1_000) / 3);
  const [victim] = (await daemon.status()).services.find(({ name }) => name === 'web')?.workers ?? [];
  process.kill(victim?.pid ?? assert.fail('there is no worker'), 'SIGKILL');
  const rolled = await daemon.verb('restart', 'web');
  assert.equal(rolled.code, 0, rolled.stderr);

  const before = await scrape(origin);
  await sleep(10_000);
  const after = await scrape(origin);
  const measured = (total(after, REQUESTS) - total(before, REQUESTS)) / 10;
  const shown = Number(/requests\/s\s+([\d.]+)/.exec(await text('[data-service=web]'))?.[1]);
  const restarts = total(after, 'proxy_service_worker_restarts_total{service="web"');
  const shownRestarts = [...(await text('#workers')).matchAll(/\b(\d+) [a-z_]+\b/g)].reduce(
    (sum, [, n]) => sum + Number(n),
    0,
  );
  const artefacts = path.join(ROOT, 'test/artefacts');
  mkdirSync(artefacts, { recursive: true });
  await browser.screenshot(path.join(artefacts, 'dashboard-light.png'), 'light');
  await browser.screenshot(path.join(artefacts, 'dashboard-dark.png'), 'dark');
  await browser.screenshot(path.join(artefacts, 'dashboard-narrow.png'), 'dark', 420);
  const { bad } = await load;
  await eventually(async () => /requests\/s\s+0\.0/.test(await text('[data-service=web]')), { withinMs: 20_000 });
  print(
    formatTable([
      ['', 'dashboard', '/metrics'],
      ['requests a second', String(shown), measured.toFixed(1)],
      ['restarts of workers', String(shownRestarts), String(restarts)],
      ['failed requests', '', String(bad)],
    ]),
  );
  assert.ok(Math.abs(shown - measured) <= measured * TOLERANCE, `${shown} is not about ${measured}`);
  assert.equal(shownRestarts, restarts);
  assert.equal(restarts, 4);
  for (const event of ['worker_exited', 'worker_ready']) assert.match(await text('#events'), new RegExp(event));
}

const REQUESTS = 'proxy_http_requests_total{';

async function scrape(origin: string): Promise<string> {
  return (await run('curl', ['-sSf', `${origin}/metrics`])).stdout;
}

/** The sum of all series whose line begins so. */
function total(metrics: string, prefix: string): number {
  return metrics
    .split('\n')
    .filter((line) => line.startsWith(prefix))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
