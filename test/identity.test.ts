/** Who workers are, as they see it themselves, and what they cannot get at. Only root can choose. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startDaemon, temporaryFolder, writeConfig } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { run } from './support/processes.ts';

const skip = process.getuid?.() === 0 ? false : 'only root can choose who workers are';

function config(services: string): string {
  return `sites: [{ hosts: [localhost], routes: [{ path: /, service: spy }] }]\nservices:\n${services}`;
}

function spy(more: string, name = 'spy'): string {
  return `  ${name}: { command: "node spy_worker.mjs {socket}", directory: FIXTURES, workers: 1${more} }\n`;
}

async function ask(daemon: Daemon, what = '', target = ''): Promise<unknown> {
  const url = `${daemon.origin}/${what}?target=${encodeURIComponent(target)}`;
  const { stdout, stderr, code } = await run('curl', ['-sSk', '--max-time', '20', url]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

interface Self {
  readonly uid: readonly number[];
  readonly gid: readonly number[];
  readonly groups: readonly number[];
  readonly umask: string;
  readonly cpus: string;
  readonly nofile: readonly number[];
  readonly nice: number;
  readonly oom: number;
  readonly env: { readonly user?: string; readonly home?: string };
}

async function whoIs(daemon: Daemon): Promise<Self> {
  return (await ask(daemon)) as Self;
}

function uidOf(pid: number): number {
  return Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
}

/** By name, from `getent` as other programs know it. */
async function numberOf(database: 'passwd' | 'group', name: string): Promise<number> {
  const { stdout } = await run('getent', [database, name]);
  return Number(stdout.split(':')[2]);
}

function warnings(daemon: Daemon): string[] {
  return daemon.events('worker_identity').map(({ warning }) => String(warning));
}

function ownFolder(t: TestContext): string {
  const folder = temporaryFolder();
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test(
  'a worker reads neither keys nor the configuration of others, and reaches neither the admin socket nor other services',
  { skip },
  async () => {
    await using daemon = await startDaemon({ config: config(spy('') + spy(', user: www-data', 'other')) });
    const [own, other] = ['spy', 'other'].map((name) => {
      const folder = path.join(daemon.folder, 'run/services', name);
      return path.join(folder, readdirSync(folder)[0] ?? '');
    });
    const state = path.join(daemon.folder, 'state');
    // What it may: its own, and what everybody may.
    assert.equal(await ask(daemon, 'connect', own), 'ok');
    assert.equal(await ask(daemon, 'read', '/etc/passwd'), 'ok');
    assert.deepEqual(
      {
        state: await ask(daemon, 'list', state),
        root: await ask(daemon, 'read', path.join(state, 'internal/root.key')),
        admin: await ask(daemon, 'connect', path.join(daemon.folder, 'run/admin.sock')),
        other: await ask(daemon, 'connect', other),
        runtime: await ask(daemon, 'list', path.join(daemon.folder, 'run')),
      },
      { state: 'EACCES', root: 'EACCES', admin: 'EACCES', other: 'EACCES', runtime: 'EACCES' },
    );
    // Nor the proxies, which have keys in their memory.
    for (const { pid } of (await daemon.status()).proxies) {
      assert.equal(await ask(daemon, 'signal', String(pid)), 'EPERM');
      assert.equal(await ask(daemon, 'read', `/proc/${pid}/environ`), 'EACCES');
    }
    assert.deepEqual(warnings(daemon), []);
  },
);

test('a worker is the owner of its directory, or nobody, never who the proxies are', { skip }, async (t) => {
  const folder = ownFolder(t);
  const app = path.join(folder, 'app');
  mkdirSync(app);
  const mail = await numberOf('passwd', 'mail');
  chownSync(app, mail, 0);
  const one = spy('').replace('node spy', 'node FIXTURES/spy');
  await using daemon = await startDaemon({
    config: config(one.replace('directory: FIXTURES', `directory: ${app}`)),
    folder,
  });
  const owner = await whoIs(daemon);
  assert.deepEqual([...new Set(owner.uid)], [mail]);
  assert.deepEqual([...new Set(owner.gid)], [await numberOf('group', 'mail')]);
  assert.equal(owner.env.user, 'mail');
  // A changed identity is another process.
  chownSync(app, 0, 0);
  writeConfig(
    daemon.folder,
    daemon.ports,
    config(one.replace('directory: FIXTURES', `directory: ${app}, umask: "006"`)),
  );
  const reloaded = await daemon.verb('reload');
  assert.equal(reloaded.code, 0, reloaded.stderr);
  const nobody = await whoIs(daemon);
  assert.deepEqual([...new Set(nobody.uid)], [await numberOf('passwd', 'nobody')]);
  assert.deepEqual(nobody.groups, [nobody.gid[0]]);
  assert.equal(nobody.umask, '0006');
  for (const { pid } of (await daemon.status()).proxies) {
    assert.ok(![0, mail, ...nobody.uid].includes(uidOf(pid ?? 0)), String(uidOf(pid ?? 0)));
  }
  assert.deepEqual(warnings(daemon), []);
});

const ALL =
  ', user: www-data, group: mail, groups: [games, "60"], umask: "007", nice: 5, cpu_affinity: "0", rlimits: { nofile: 300 }';

test('user, groups, umask, limits, priority and CPUs are those of the configuration', { skip }, async () => {
  await using daemon = await startDaemon({ config: config(spy(ALL)) });
  const self = await whoIs(daemon);
  assert.deepEqual(self, {
    uid: Array(4).fill(await numberOf('passwd', 'www-data')),
    gid: Array(4).fill(await numberOf('group', 'mail')),
    groups: [60, await numberOf('group', 'games')].toSorted((a, b) => a - b),
    umask: '0007',
    cpus: '0',
    nofile: [300, 300],
    nice: 5,
    oom: 500,
    env: { user: 'www-data', home: '/var/www' },
  });
  assert.deepEqual(
    daemon.events('worker_command').flatMap(({ warning }) => warning ?? []),
    [],
  );
});

test(
  'where the programs for it are missing, a worker still drops its rights and is limited, and what is not done is said',
  { skip },
  async () => {
    const bare = { PATH: '/nowhere' };
    await using daemon = await startDaemon({ config: config(spy(ALL)), env: bare });
    const self = await whoIs(daemon);
    const mail = await numberOf('group', 'mail');
    assert.deepEqual([...new Set(self.uid)], [await numberOf('passwd', 'www-data')]);
    assert.deepEqual([...new Set(self.gid)], [mail]);
    assert.deepEqual(
      self.groups.filter((group) => group !== mail),
      [],
    );
    assert.deepEqual([self.umask, self.nice, self.nofile, self.oom], ['0007', 5, [300, 300], 500]);
    const told = daemon.events('worker_command').flatMap(({ warning }) => warning ?? []);
    assert.match(told.join('\n'), /taskset.*\n.*prlimit.*\n.*setpriv.*no supplementary groups/);
    assert.equal(told.length, 3);
  },
);

test('workers that are no strangers to what is ours are warned about at the start', { skip }, async (t) => {
  for (const [more, expected] of [
    [', user: root', /run as root: they can read the keys/],
    [', user: proxy', /as the proxies do/],
    [', groups: [proxy]', /in the proxies' group/],
  ] as const) {
    await using daemon = await startDaemon({ config: config(spy(more)) });
    assert.equal(warnings(daemon).length, 1, more);
    assert.match(warnings(daemon)[0] ?? '', expected);
  }
  const folder = ownFolder(t);
  mkdirSync(path.join(folder, 'state'));
  const [uid, gid] = [await numberOf('passwd', 'www-data'), await numberOf('group', 'www-data')];
  chownSync(path.join(folder, 'state'), uid, gid);
  chmodSync(path.join(folder, 'state'), 0o700);
  {
    await using daemon = await startDaemon({ config: config(spy(', user: www-data')), folder });
    assert.match(warnings(daemon).join(), /who owns .*state: they can read the keys/);
  }
  rmSync(path.join(folder, 'state'), { recursive: true });
  rmSync(path.join(folder, 'run'), { recursive: true });
  chownSync(folder, uid, gid);
  const wrapper = ['setpriv', '--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--'];
  await using daemon = await startDaemon({ config: config(spy('')), folder, wrapper });
  assert.match(warnings(daemon).join(), /run as who we are, which is not root: they can read the keys/);
  assert.deepEqual((await whoIs(daemon)).uid, Array(4).fill(uid));
});
