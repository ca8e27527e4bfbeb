/** What workers write: told whole, bounded, and never at the cost of the worker or of those it serves. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { cpuSeconds, run, watchMemory } from './support/processes.ts';

const MIB = 1024 * 1024;

function config(command: readonly string[], more = ''): string {
  return `sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: ${JSON.stringify(command)}, directory: FIXTURES, workers: 1${more} }
`;
}

async function get(daemon: Daemon, target: string): Promise<string> {
  const url = daemon.origin + target;
  return (await run('curl', ['-sSk', '--max-time', '20', '-o', '/dev/null', '-w', '%{http_code}', url])).stdout;
}

test('a worker that writes 200 MB/s is never held up, and what the log did not get is counted', async (t) => {
  const folder = temporaryFolder();
  const report = path.join(folder, 'shared/report');
  const output = path.join(folder, 'log');
  await using daemon = await startDaemon({
    config: config(['node', 'flooding_worker.mjs', '{socket}'], `, env: { REPORT: ${report} }`),
    folder,
    // A file: all that the control plane writes arrives.
    output,
  });
  const memory = watchMemory([daemon.pid]);
  const cpuBefore = cpuSeconds(daemon.pid);
  assert.equal(await get(daemon, `/flood?bytes=${600 * 1e6}`), '200');
  const codes: string[] = [];
  await eventually(
    async () => {
      codes.push(await get(daemon, '/'));
      return existsSync(report);
    },
    { withinMs: 60_000 },
  );
  memory.stop();
  const cpu = cpuSeconds(daemon.pid) - cpuBefore;
  const written = JSON.parse(readFileSync(report, 'utf8')) as { bytes: number; lines: number; ms: number };
  assert.deepEqual([...new Set(codes)], ['200']);

  const view = async (): Promise<{ lost_lines: number } | undefined> => (await daemon.status()).services[0]?.workers[0];
  const told = await eventually(async () => {
    const lost = (await view())?.lost_lines ?? 0;
    const kept = daemon.events('worker_output').length;
    return kept + lost === written.lines && { kept, lost };
  });
  assert.ok(told.kept > 1_000, JSON.stringify(told));
  await eventually(() => {
    const events = daemon.events('worker_output_lost');
    return events.reduce((sum, { lines }) => sum + Number(lines), 0) === told.lost;
  });
  assert.ok(memory.grownBytes() < 150 * MIB, `the control plane grew by ${memory.grownBytes() / MIB} MiB`);
  const rate = Math.round(written.bytes / 1e3 / written.ms);
  t.diagnostic(
    `${rate} MB/s for ${written.ms} ms cost the control plane ${cpu.toFixed(2)} s of CPU and ${Math.round(memory.grownBytes() / MIB)} MiB; ${JSON.stringify(told)}; ${codes.length} answers`,
  );
});

test('characters that arrive in two pieces and control characters are told as they are, whatever the format', async () => {
  const script = `const out = process.stdout, bytes = Buffer.from('grüße \\u{1f980}\\n');
    const say = async () => {
      for (const byte of bytes) { out.write(Buffer.of(byte)); await new Promise((done) => setTimeout(done, 5)); }
      out.write('red \\u001b[31m bell \\u0007\\r\\n');
    };
    require('http').createServer((q, s) => s.end('ok')).listen(process.argv[1], say);`;
  for (const format of ['json', 'text']) {
    const command = ['node', '-e', script.replaceAll('\n', ' '), '{socket}'];
    await using daemon = await startDaemon({ config: `${config(command)}logging: { format: ${format} }\n` });
    const told = (): string[] =>
      daemon
        .log()
        .split('\n')
        .filter((line) => line.includes('worker_output'));
    await eventually(() => told().length === 2);
    const lines = told();
    assert.equal(lines.filter((line) => line.includes('grüße 🦀')).length, 1, format);
    const control = lines.find((line) => line.includes('red ')) ?? '';
    assert.match(control, /red \\u001b\[31m bell \\u0007"?}?$/);
  }
});
