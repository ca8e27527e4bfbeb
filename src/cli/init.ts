/** `proxy init`: a first configuration, from the flags of `run` or from three questions. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { deploymentYaml, readDeployment } from './deployment.ts';
import type { DeploymentWords } from './deployment.ts';
import { complain, complainAbout, print } from './terminal.ts';
import { formatProblem, parseConfig } from '../config/load.ts';
import { splitCommand } from '../config/shell_words.ts';

export interface InitOptions {
  readonly words: DeploymentWords;
  /** null: ./proxy.yaml */
  readonly file: string | undefined;
}

/** Exit 0 written, 1 not, 2 it would not be a good configuration. */
export async function init({ words, file = 'proxy.yaml' }: InitOptions): Promise<number> {
  const target = path.resolve(file);
  let read = readDeployment(words);
  if (read.kind === 'none') {
    if (process.stdin.isTTY !== true) return misused('--host NAME and -- COMMAND or --to URL say what to write');
    read = readDeployment(await ask());
  }
  if (read.kind !== 'deployment') {
    return misused(read.kind === 'incomplete' ? read.problem : 'nothing was answered');
  }
  const text = deploymentYaml(read.deployment);
  const parsed = parseConfig({ file: target, text, env: process.env });
  if (!parsed.ok) {
    for (const problem of parsed.problems) complain(formatProblem(problem));
    return 2;
  }
  try {
    // Never over what somebody wrote.
    writeFileSync(target, text, { flag: 'wx', mode: 0o644 });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) {
      complainAbout(error);
      return 1;
    }
    complain(`proxy: ${target} is there already: edit it, or name another with --config`);
    return 1;
  }
  print(`${target} is written; start it: proxy run${file === 'proxy.yaml' ? '' : ` -c ${file}`}`);
  return 0;
}

async function ask(): Promise<DeploymentWords> {
  using terminal = createInterface({ input: process.stdin, output: process.stderr });
  const host = (await terminal.question('Which names shall it serve? (app.example.com www.example.com) ')).trim();
  const app = (
    await terminal.question('What serves them? A command that starts it, or the URL where it runs: ')
  ).trim();
  const email = (
    await terminal.question(
      "Your email, for the CA's account; answering agrees to its terms of service. Empty: no certificates of a CA: ",
    )
  ).trim();
  const isUrl = /^(https?|h2c?):\/\//.test(app);
  const split = splitCommand(app);
  if (!isUrl && !split.ok) complain(`proxy: the command ${split.problem}`);
  return {
    host: host.split(/[\s,]+/).filter(Boolean),
    ...(email === '' ? {} : { email, 'agree-tos': true }),
    ...(isUrl ? { to: app.split(/[\s,]+/) } : {}),
    command: isUrl || !split.ok ? [] : split.words,
  };
}

function misused(problem: string): number {
  complain(`proxy: ${problem}`);
  return 1;
}
