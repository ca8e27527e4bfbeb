/** `proxy init`: a first configuration, from the flags of `run` or from three questions; for systemd all it needs. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { isSea } from 'node:sea';
import { deploymentYaml, readDeployment } from './deployment.ts';
import type { DeploymentWords } from './deployment.ts';
import { serviceUnit, SOCKET_UNIT, SYSTEM_USER, SYSUSERS } from './systemd_units.ts';
import { complain, complainAbout, print } from './terminal.ts';
import { formatProblem, parseConfig } from '../config/load.ts';
import { splitCommand } from '../config/shell_words.ts';

export interface InitOptions {
  readonly words: DeploymentWords;
  /** undefined: ./proxy.yaml, or with systemd /etc/proxy/proxy.yaml. */
  readonly file: string | undefined;
  readonly systemd: boolean;
  /** What is taken for / when something is written: that of an image. */
  readonly root: string;
}

interface Written {
  readonly file: string;
  readonly text: string;
}

/** Exit 0 written, 1 not, 2 it would not be a good configuration. */
export async function init({ words, file, systemd, root }: InitOptions): Promise<number> {
  const target = path.resolve(file ?? (systemd ? '/etc/proxy/proxy.yaml' : 'proxy.yaml'));
  let read = readDeployment(words);
  if (read.kind === 'none') {
    if (process.stdin.isTTY !== true) return fail('--host NAME and -- COMMAND or --to URL say what to write');
    read = readDeployment(await ask());
  }
  if (read.kind !== 'deployment') return fail(read.kind === 'incomplete' ? read.problem : 'nothing was answered');
  const text = deploymentYaml(read.deployment, {
    ...(path.dirname(target) === process.cwd() ? {} : { directory: process.cwd() }),
    ...(systemd ? { user: SYSTEM_USER } : {}),
  });
  const parsed = parseConfig({ file: target, text, env: process.env });
  if (!parsed.ok) {
    for (const problem of parsed.problems) complain(formatProblem(problem));
    return 2;
  }
  const all = [{ file: target, text }, ...(systemd ? systemdFiles(target) : [])];
  const files = all.map((written) => ({ ...written, file: path.join(root, written.file) }));
  const there = files.find((written) => existsSync(written.file));
  if (there !== undefined) return fail(`${there.file} is there already: edit it, or remove it first`);
  try {
    writeAll(files);
    if (systemd) makeUser(root);
  } catch (error) {
    complainAbout(error);
    return 1;
  }
  for (const written of files) print(`written: ${written.file}`);
  const start = `proxy run${file === undefined ? '' : ` -c ${file}`}`;
  print(
    `to start it: ${systemd ? 'systemctl daemon-reload && systemctl enable --now proxy.socket proxy.service' : start}`,
  );
  return 0;
}

function systemdFiles(config: string): readonly Written[] {
  const words = isSea() ? [process.execPath] : [process.execPath, path.resolve(process.argv[1] ?? '')];
  return [
    { file: '/etc/systemd/system/proxy.service', text: serviceUnit(words.map(unitWord).join(' '), unitWord(config)) },
    { file: '/etc/systemd/system/proxy.socket', text: SOCKET_UNIT },
    { file: '/etc/sysusers.d/proxy.conf', text: SYSUSERS },
  ];
}

/** As systemd reads it in a command line: `%` and `$` stand for something, blanks divide. */
function unitWord(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', () => '$$');
  return /[\s"'\\;]/.test(escaped) ? `"${escaped.replaceAll(/["\\]/g, String.raw`\$&`)}"` : escaped;
}

function writeAll(files: readonly Written[]): void {
  for (const { file, text } of files) {
    mkdirSync(path.dirname(file), { recursive: true });
    // Never over what somebody wrote.
    writeFileSync(file, text, { flag: 'wx', mode: 0o644 });
  }
}

function makeUser(root: string): void {
  const { status, stderr } = spawnSync('systemd-sysusers', [`--root=${path.resolve(root)}`], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`systemd-sysusers made no user "${SYSTEM_USER}": ${stderr ?? 'it is not there'}`);
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

function fail(problem: string): number {
  complain(`proxy: ${problem}`);
  return 1;
}
