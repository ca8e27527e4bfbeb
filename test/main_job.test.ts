/** What `npm start` does, on the configuration as it is but for its ports, at a terminal. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { callDaemon } from '../src/cli/admin_client.ts';
import { freePort, ROOT, temporaryFolder } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { isRunning, run } from './support/processes.ts';

test('config/proxy.yaml runs as it is: a page over https from each worker, and a terminal told how to trust it', async () => {
  const folder = temporaryFolder();
  const [http, https, metrics] = [await freePort(), await freePort(), await freePort()];
  cpSync(path.join(ROOT, 'config'), path.join(folder, 'config'), { recursive: true });
  chmodSync(path.join(folder, 'config'), 0o755);
  const file = path.join(folder, 'config/proxy.yaml');
  const text = readFileSync(file, 'utf8');
  assert.match(text, /':8080'[\s\S]*':8443'/);
  const own = text.replaceAll(':8080', `:${http}`).replaceAll(':8443', `:${https}`);
  writeFileSync(file, `${own}metrics: { address: 127.0.0.1:${metrics} }\n`);

  let screen = '';
  const command = `${process.execPath} ${path.join(ROOT, 'src/main.ts')} run -c ${file}`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
  terminal.stdout.setEncoding('utf8').on('data', (chunk: string) => (screen += chunk));
  try {
    const seen = new Set<string>();
    await eventually(
      async () => {
        const { stdout, code } = await run('curl', ['-sk', '--max-time', '2', `https://localhost:${https}/`]);
        if (code === 0) seen.add(/worker (demo\/\d) .*up [\d.]+ s/.exec(stdout)?.[1] ?? '');
        return seen.size === 2;
      },
      { withinMs: 10_000 },
    );
    await eventually(() => screen.includes('update-ca-certificates'));
    assert.match(screen, new RegExp(`https://localhost:${https}/ → demo`));
    assert.match(screen, /worker_ready .*worker=demo\/1/);
    const root = /--cacert (\S+)/.exec(screen)?.[1] ?? '';
    const trusting = await run('curl', ['-sS', '--cacert', root, `https://localhost:${https}/`]);
    assert.equal(trusting.code, 0, trusting.stderr);
    assert.equal(path.relative(folder, root), 'certs/internal/root.pem');

    const status = (await callDaemon(path.join(folder, 'run/admin.sock'), 'GET', '/v1/status')) as { pid: number };
    // The terminal is closed: nothing of it goes on.
    terminal.kill('SIGKILL');
    await eventually(() => !isRunning(status.pid));
  } finally {
    terminal.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});
