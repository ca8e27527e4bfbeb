/** Who can replace the workers of one app while it serves: we, and gunicorn and uvicorn by themselves, nginx before them. */
import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { FIXTURES, freePort, startDaemon, temporaryFolder } from './daemon.ts';
import { eventually } from './eventually.ts';
import { isRunning, run } from './processes.ts';
import { createSelfSigned } from './self_signed.ts';
import { processTree } from '../bench/usage.ts';

export interface Restartable extends AsyncDisposable {
  readonly title: string;
  readonly origin: string;
  readonly folder: string;
  /** Resolves when no worker is left that was there. */
  restart(): Promise<void>;
}

const WORKERS = 2;
const APP = 'recording_app:app';
/** Debian's, whichever python comes first. */
const PYTHON = '/usr/bin/python3';

export const CONTENDERS: readonly { readonly name: string; readonly start: () => Promise<Restartable> }[] = [
  { name: 'proxy', start: startOurs },
  { name: 'gunicorn', start: startGunicorn },
  { name: 'uvicorn', start: startUvicorn },
];

async function startOurs(): Promise<Restartable> {
  const daemon = await startDaemon({
    config: `logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: ${PYTHON} -m uvicorn ${APP} --no-access-log
    directory: FIXTURES
    workers: ${WORKERS}
    env: { RECORD: FOLDER/shared/executed, PYTHONDONTWRITEBYTECODE: 1 }
`,
  });
  return {
    title: 'proxy, uvicorn workers: proxy restart',
    origin: daemon.origin,
    folder: daemon.folder,
    restart: async () => {
      const { code, stderr } = await daemon.verb('restart', 'web');
      if (code !== 0) throw new Error(stderr);
    },
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

async function startGunicorn(): Promise<Restartable> {
  const command = (socket: string): string[] =>
    words(`gunicorn ${APP} -k uvicorn.workers.UvicornWorker -w ${WORKERS} -b unix:${socket} --log-level error`);
  const behind = await startBehindNginx(command);
  return {
    ...behind,
    title: `nginx, gunicorn ${await versionOf('gunicorn')} with uvicorn workers: HUP`,
    restart: async () => {
      const before = behind.workers();
      process.kill(behind.pid(), 'SIGHUP');
      await eventually(() => behind.workers().length === WORKERS && !before.some(isRunning), { withinMs: 60_000 });
    },
  };
}

/** The supervisor of Debian's version knows no signal to replace its workers: it is ended, and another one started. */
async function startUvicorn(): Promise<Restartable> {
  const command = (socket: string): string[] =>
    words(`uvicorn ${APP} --workers ${WORKERS} --uds ${socket} --no-access-log --log-level error`);
  const behind = await startBehindNginx(command);
  return {
    ...behind,
    title: `nginx, uvicorn ${await versionOf('uvicorn')} --workers: TERM, then started again`,
    restart: behind.startAgain,
  };
}

function words(command: string): string[] {
  return [PYTHON, '-m', ...command.split(' ')];
}

async function versionOf(module: string): Promise<string> {
  const { stdout } = await run(PYTHON, ['-c', `import ${module}; print(${module}.__version__)`]);
  return stdout.trim();
}

interface BehindNginx extends Omit<Restartable, 'title' | 'restart'> {
  pid(): number;
  /** Its children. */
  workers(): readonly number[];
  /** Ends it by TERM and starts another when it is gone. */
  startAgain(): Promise<void>;
}

async function startBehindNginx(command: (socket: string) => string[]): Promise<BehindNginx> {
  const folder = temporaryFolder();
  const port = await freePort();
  const socket = path.join(folder, 'app.sock');
  const env = { ...process.env, RECORD: `${folder}/shared/executed`, PYTHONDONTWRITEBYTECODE: '1' };
  const launch = async () => {
    rmSync(socket, { force: true });
    const [file = '', ...args] = command(socket);
    const child = spawn(file, args, { cwd: FIXTURES, env, stdio: ['ignore', 'ignore', 'inherit'] });
    const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
    await eventually(async () => (await run('curl', ['-sf', '--unix-socket', socket, 'http://app/'])).code === 0);
    return { child, exited };
  };
  let app = await launch();
  const { key, certificate } = await createSelfSigned(folder, 'localhost');
  const file = path.join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off; worker_processes 2; pid ${folder}/nginx.pid; error_log /dev/null;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 4096; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${certificate}; ssl_certificate_key ${key};
    location / { proxy_pass http://unix:${socket}; proxy_set_header Host $http_host; }
  }
}
`,
  );
  const nginx = spawn('nginx', ['-c', file, '-e', '/dev/null'], { stdio: 'ignore' });
  const origin = `https://localhost:${port}`;
  await eventually(async () => (await run('curl', ['-skf', origin])).code === 0);
  return {
    origin,
    folder,
    pid: () => app.child.pid ?? 0,
    workers: () => processTree(app.child.pid ?? 0).filter((pid) => pid !== app.child.pid),
    startAgain: async () => {
      app.child.kill('SIGTERM');
      await app.exited;
      app = await launch();
    },
    [Symbol.asyncDispose]: async () => {
      app.child.kill('SIGTERM');
      nginx.kill('SIGTERM');
      const late = setTimeout(() => app.child.kill('SIGKILL'), 5_000);
      await app.exited;
      clearTimeout(late);
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
