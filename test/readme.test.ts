/** What is written for readers does what it says. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { PAGE, referencePage } from '../build/reference.ts';
import { splitChain } from '../src/certificates/certificate.ts';
import { openInternalCa } from '../src/certificates/internal_ca.ts';
import { createMemoryStorage } from '../src/certificates/storage/memory_storage.ts';
import { FIXTURES, ROOT } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { makeFreshClone } from './support/fresh_clone.ts';
import { anchorsOf, commandsOf, fencesOf, linksOf } from './support/markdown.ts';
import { run } from './support/processes.ts';
import type { Finished } from './support/processes.ts';

const pages = [
  'README.md',
  'SECURITY.md',
  'docker/README.md',
  'config/systemd/README.md',
  ...readdirSync(path.join(ROOT, 'config'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `config/${file}`),
];
const read = (page: string): string => readFileSync(path.join(ROOT, page), 'utf8');
const fences = fencesOf(read('README.md')).map((fence) => ({ ...fence, at: `README.md:${fence.line}` }));

const fresh = await makeFreshClone();
const { folder, clone, env } = fresh;
after(() => fresh[Symbol.asyncDispose]());
// What `npm ci` would put there.
symlinkSync(path.join(ROOT, 'node_modules'), path.join(clone, 'node_modules'));
const program = `#!/bin/sh\nexec ${process.execPath} ${clone}/src/main.ts "$@"\n`;
writeFileSync(path.join(folder, 'bin/proxy'), program, { mode: 0o755 });
mkdirSync(path.join(folder, 'app'));
copyFileSync(path.join(FIXTURES, 'fastapi_app.py'), path.join(folder, 'app/main.py'));
writeFileSync(path.join(folder, 'database_url'), 'postgres://localhost/app\n');

/** What a reader has elsewhere than this test. */
function here(text: string): string {
  return text
    .replaceAll(/\/srv\/app(?:\/current)?\b/g, `${folder}/app`)
    .replaceAll('/etc/proxy/database_url', `${folder}/database_url`)
    .replaceAll('/etc/letsencrypt', `${folder}/letsencrypt`)
    .replaceAll('user: app', 'user: nobody');
}

function reader(line: string): Promise<Finished> {
  return run(...fresh.onMachine(line, `${folder}/app`), { env });
}

test('every command of the README does what it is there for', async () => {
  const commands = fences
    .filter(({ language, notRun }) => language === 'sh' && notRun === null)
    .flatMap((fence) => commandsOf(fence).map((command) => ({ command: here(command), at: fence.at })));
  const serves = commands.filter(({ command }) => command.startsWith('proxy run '));
  assert.equal(serves.length, 1, 'one command serves, and the others ask it');
  assert.ok(commands.length >= 10);
  await writeCertbotFolder();

  let log = '';
  const [command, args] = fresh.onMachine(`exec ${serves[0]?.command}`, `${folder}/app`);
  const daemon = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [daemon.stdout, daemon.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (log += text));
  }
  const exited = new Promise((resolve) => daemon.once('exit', resolve));
  try {
    await eventually(() => log.includes('worker_ready') && log.includes('"started"'), { withinMs: 30_000 });
    for (const { command, at } of commands) {
      if (command === serves[0]?.command) continue;
      const { code, stdout, stderr } = await reader(command);
      assert.equal(code, 0, `${at}: ${command}\n${stdout}${stderr}`);
      assert.notEqual(stdout, '', `${at}: ${command} says nothing`);
    }
    // What was imported is served, and the app behind it.
    const answer = await reader(
      `curl -sS --max-time 10 --cacert ${folder}/root.pem --resolve app.example.com:443:127.0.0.1 https://app.example.com/who`,
    );
    assert.match(answer.stdout, /"scheme":"https"/, answer.stderr);
    assert.match((await reader('proxy status')).stdout, /\bweb +up +3 of 3\b/, 'it was scaled to three');
    daemon.kill('SIGTERM');
    assert.equal(await exited, 0);
  } catch (error) {
    throw new Error(`the log:\n${log}`, { cause: error });
  } finally {
    daemon.kill('SIGKILL');
    await exited;
  }
});

async function writeCertbotFolder(): Promise<void> {
  const ca = await openInternalCa(createMemoryStorage(), Date.now());
  const certificate = ca.issue(['app.example.com'], Date.now());
  const live = path.join(folder, 'letsencrypt/live/app.example.com');
  mkdirSync(live, { recursive: true });
  writeFileSync(path.join(live, 'fullchain.pem'), certificate.chain);
  writeFileSync(path.join(live, 'privkey.pem'), certificate.key);
  writeFileSync(path.join(folder, 'root.pem'), splitChain(certificate.chain).at(-1) ?? '');
}

test('every file of the README is a good configuration', async () => {
  const files = fences.filter(({ language }) => language === 'yaml');
  assert.ok(files.length >= 4);
  for (const { text, at } of files) {
    const isPart = !/^sites:/m.test(text);
    const rest = isPart ? 'sites: [{ hosts: [localhost], service: web }]\n' : '';
    writeFileSync(path.join(folder, 'app/readme.yaml'), here(text) + rest);
    const { code, stdout, stderr } = await reader('proxy validate -c readme.yaml');
    assert.equal(code, 0, `${at}: ${stdout}${stderr}`);
  }
});

test('what no test of the README runs says why', () => {
  for (const { language, notRun, at } of fences) {
    assert.ok(['', 'sh', 'yaml', 'dockerfile'].includes(language), `${at}: ${language}`);
    for (const [file] of notRun?.matchAll(/test\/[\w/.-]+\.ts/g) ?? []) {
      assert.ok(existsSync(path.join(ROOT, file)), `${at}: there is no ${file}`);
    }
  }
  const { scripts } = JSON.parse(read('package.json')) as { readonly scripts: Readonly<Record<string, string>> };
  for (const [, name = ''] of fences
    .map(({ text }) => text)
    .join('\n')
    .matchAll(/npm run ([\w-]+)/g)) {
    assert.ok(name in scripts, `npm run ${name}`);
  }
  for (const [, name = ''] of read('README.md').matchAll(/npm run prove ([a-z][\w-]*)/g)) {
    assert.ok(existsSync(path.join(ROOT, `test/prove/${name}.ts`)), `npm run prove ${name}`);
  }
});

for (const page of pages) {
  test(`links of ${page} lead somewhere`, () => {
    for (const link of linksOf(read(page))) {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? page : path.join(path.dirname(page), file);
      assert.ok(existsSync(path.join(ROOT, target)), link);
      if (anchor !== undefined) assert.ok(anchorsOf(read(target)).includes(anchor), link);
    }
  });
}

test('the reference has every key as the schema has it', () => {
  const reference = readFileSync(PAGE, 'utf8');
  assert.equal(reference, referencePage(reference), 'write it anew: npm run readme');
});

test('every key in the reference says what it is for', () => {
  assert.deepEqual(readFileSync(PAGE, 'utf8').match(/^\| `.*\|\s*\|$/gm), null);
});
