/** A FastAPI application under uvicorn, on a socket and on a port. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import { residentBytes, run } from './support/processes.ts';
import { sleep } from '../src/lifecycle.ts';

const SIZE = 200 * 1024 * 1024;
const ALLOWED_GROWTH = 50 * 1024 * 1024;
/** Where Debian's own modules are, whichever python comes first. */
const UVICORN = '/usr/bin/python3 -m uvicorn fastapi_app:app --no-access-log';

for (const [how, flags] of [
  ['a Unix socket', '--uds {socket}'],
  ['a port', '--port {port}'],
] as const) {
  test(`FastAPI under uvicorn on ${how}: JSON, the client's address and scheme, 200 MB up and down`, async (t) => {
    const config = `sites: [{ hosts: [localhost, 127.0.0.1], service: api }]
services:
  api: { command: "${UVICORN} ${flags}", directory: FIXTURES, workers: 2, env: { PYTHONDONTWRITEBYTECODE: 1 } }
`;
    await using daemon = await startDaemon({ config });
    const curl = async (...args: readonly string[]): Promise<string> => {
      const { stdout, stderr, code } = await run('curl', ['-sSk', '--max-time', '60', ...args]);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    // From 127.0.0.2: uvicorn takes the addresses it trusts, 127.0.0.1 here, for proxies and never for the client.
    const who: unknown = JSON.parse(await curl('--interface', '127.0.0.2', `${daemon.origin}/who?a=b`));
    assert.deepEqual(who, { url: `${daemon.origin}/who?a=b`, scheme: 'https', client: '127.0.0.2' });

    const proxies = (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
    const before = proxies.map(residentBytes);
    let grown = 0;
    const over = new AbortController();
    const watching = (async () => {
      while (!over.signal.aborted) {
        proxies.forEach((pid, i) => (grown = Math.max(grown, residentBytes(pid) - (before[i] ?? 0))));
        await sleep(50, over.signal);
      }
    })();

    const file = path.join(daemon.folder, 'upload');
    assert.equal(spawnSync('truncate', ['-s', String(SIZE), file]).status, 0);
    assert.equal(await curl('-T', file, '-X', 'POST', `${daemon.origin}/upload`), JSON.stringify({ size: SIZE }));
    const downloaded = await curl(
      '-o',
      '/dev/null',
      '-w',
      '%{size_download}',
      `${daemon.origin}/download?size=${SIZE}`,
    );
    assert.equal(Number(downloaded), SIZE);

    over.abort();
    await watching;
    t.diagnostic(`a proxy grew by at most ${Math.round(grown / 1024 / 1024)} MiB`);
    assert.ok(grown < ALLOWED_GROWTH, `a proxy grew by ${Math.round(grown / 1024 / 1024)} MiB`);
  });
}
