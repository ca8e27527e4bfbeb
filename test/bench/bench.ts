/**
 * What it costs to stand between clients and workers: CPU time and memory of ours beside nginx's, HAProxy's and Caddy's, in
 * turns within one run, so that all have the same machine. Ratios travel between machines; microseconds do not.
 *
 *   npm run bench [NAME…] [-- --json FILE]      npm run bench -- --list      ROUNDS=9  SECONDS_EACH=1
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, layOut, moveToLoadCore } from './machine.ts';
import { opensslConfiguration } from './load.ts';
import { ratioRows, reportScenario, scenarioRows } from './report.ts';
import type { ScenarioReport } from './report.ts';
import { makeCertificate, removeFolder, runScenario } from './rounds.ts';
import { SCENARIOS } from './scenarios.ts';
import { describeError } from '../../src/log.ts';
import { complain, complainAbout, formatTable, print } from '../../src/cli/terminal.ts';
import { ROOT, temporaryFolder } from '../support/daemon.ts';

const ROUNDS = Number(process.env['ROUNDS'] ?? 9);

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      list: { type: 'boolean', default: false },
      json: { type: 'string', default: path.join(ROOT, 'bench.json') },
    },
  });
  if (values.list) {
    print(formatTable(SCENARIOS.map(({ name, title, units }) => [name, title, units.join(', ')])));
    return 0;
  }
  const unknown = positionals.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown.length > 0) {
    complain(`there is no scenario ${unknown.join(', ')}, but ${SCENARIOS.map(({ name }) => name).join(', ')}`);
    return 2;
  }
  const scenarios = SCENARIOS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const kinds = new Map(scenarios.flatMap(({ contenders }) => contenders.map((kind) => [kind.name, kind])));

  const layout = layOut();
  moveToLoadCore(layout);
  const versions = Object.fromEntries([...kinds].map(([name, kind]) => [name, kind.version()]));
  const machine = describeMachine();
  const cores = `contender on core ${layout.contender} (on all where it has several processes), load on ${layout.load}, workers on ${layout.workers.join(' and ')}`;
  for (const [name, version] of Object.entries(versions)) {
    print(`${name}: ${version ?? 'not installed, skipped'}`);
  }
  for (const [what, text] of Object.entries(machine)) print(`${what}: ${text}`);
  print(`${cores}; ${ROUNDS} rounds\n`);

  const folder = temporaryFolder();
  const reports: ScenarioReport[] = [];
  const failed: string[] = [];
  const begun = Date.now();
  try {
    const tls = await makeCertificate(folder);
    writeFileSync(path.join(folder, 'openssl.cnf'), opensslConfiguration());
    const tools = { folder, certificate: tls.certificate };
    const onRound = (): void => void process.stderr.write('.');
    for (const scenario of scenarios) {
      process.stderr.write(`${scenario.name} `);
      try {
        const results = await runScenario({ tools, layout, tls, rounds: ROUNDS, onRound }, scenario);
        process.stderr.write('\n');
        const report = reportScenario(scenario, results);
        reports.push(report);
        print(`${scenario.name}: ${scenario.title}\n${formatTable(scenarioRows(scenario, report))}\n`);
      } catch (error) {
        // The others' figures are no worse for it.
        failed.push(scenario.name);
        complain(`\n${scenario.name} FAILED: ${describeError(error)}\n`);
      }
    }
  } finally {
    removeFolder(folder);
  }
  print(formatTable(ratioRows(reports)));
  print(`\n${Math.round((Date.now() - begun) / 1000)} s`);
  const json = {
    date: new Date(begun).toISOString(),
    versions,
    machine,
    cores,
    rounds: ROUNDS,
    failed,
    scenarios: reports,
  };
  writeFileSync(values.json, `${JSON.stringify(json, null, 2)}\n`);
  if (failed.length > 0) complain(`FAILED: ${failed.join(', ')}`);
  return failed.length > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  complainAbout(error);
  process.exitCode = 1;
}
