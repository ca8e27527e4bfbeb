import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planCommand } from './presets.ts';
import type { CommandPlan } from './presets.ts';
import { splitCommand } from '../config/shell_words.ts';
import { serviceConfig } from '../../test/support/values.ts';

function plan(line: string, env: Readonly<Record<string, string>> = {}): CommandPlan {
  const split = splitCommand(line);
  assert.ok(split.ok);
  const timeouts = { ...serviceConfig().timeouts, drainMs: 30_000, stopMs: 10_000 };
  return planCommand({
    ...serviceConfig({ env, timeouts, shownCommand: split.words }),
    command: split.words,
  });
}

const ADDED: readonly (readonly [command: string, effective: string, on: 'socket' | 'port' | 'fd'])[] = [
  ['uvicorn main:app', 'uvicorn main:app --uds {socket}', 'socket'],
  ['.venv/bin/uvicorn main:app', '.venv/bin/uvicorn main:app --uds {socket}', 'socket'],
  ['python -m uvicorn main:app', 'python -m uvicorn main:app --uds {socket}', 'socket'],
  ['/usr/bin/python3.11 -X dev -um uvicorn a:b', '/usr/bin/python3.11 -X dev -um uvicorn a:b --uds {socket}', 'socket'],
  ['python3 .venv/bin/uvicorn a:b', 'python3 .venv/bin/uvicorn a:b --uds {socket}', 'socket'],
  ['uv run uvicorn a:b', 'uv run uvicorn a:b --uds {socket}', 'socket'],
  ['uv run --with x -- uvicorn a:b', 'uv run --with x -- uvicorn a:b --uds {socket}', 'socket'],
  ['uv run -m uvicorn a:b', 'uv run -m uvicorn a:b --uds {socket}', 'socket'],
  ['uv --project x run python -m uvicorn a:b', 'uv --project x run python -m uvicorn a:b --uds {socket}', 'socket'],
  ['uvicorn -- a:b', 'uvicorn --uds {socket} -- a:b', 'socket'],
  ['poetry run uvicorn a:b', 'poetry run uvicorn a:b --uds {socket}', 'socket'],
  ['pipenv run gunicorn a:b', 'pipenv run gunicorn a:b -b unix:{socket}', 'socket'],
  ['python -m gunicorn.app.wsgiapp a:b', 'python -m gunicorn.app.wsgiapp a:b -b unix:{socket}', 'socket'],
  [
    'gunicorn -k uvicorn.workers.UvicornWorker a:b',
    'gunicorn -k uvicorn.workers.UvicornWorker a:b -b unix:{socket}',
    'socket',
  ],
  ['fastapi run main.py', 'fastapi run main.py --host {host} --port {port}', 'port'],
  ['hypercorn a:b', 'hypercorn a:b -b unix:{socket}', 'socket'],
  ['granian --interface asgi a:b', 'granian --interface asgi a:b --uds {socket}', 'socket'],
  ['bundle exec puma', 'bundle exec puma -b unix://{socket}', 'socket'],
  ['bundle exec rails server', 'bundle exec rails server -b {host} -p {port}', 'port'],
  ['bin/rails s -e production', 'bin/rails s -e production -b {host} -p {port}', 'port'],
  // Nothing is known to add.
  ['node server.js', 'node server.js', 'port'],
  ['./app', './app', 'port'],
  ['rails runner Job.run', 'rails runner Job.run', 'port'],
  ['python app.py', 'python app.py', 'port'],
  ['python -c "import uvicorn"', 'python -c "import uvicorn"', 'port'],
  // The operator has said it.
  ['uvicorn a:b --port {port}', 'uvicorn a:b --port {port}', 'port'],
  ['uvicorn a:b --fd {fd}', 'uvicorn a:b --fd {fd}', 'fd'],
  // It goes by LISTEN_FDS.
  ['gunicorn -b fd://{fd} a:b', 'gunicorn a:b', 'fd'],
  ['python -m gunicorn --bind=fd://{fd} a:b', 'python -m gunicorn a:b', 'fd'],
  ['hypercorn a:b -b fd://{fd}', 'hypercorn a:b -b fd://{fd}', 'fd'],
  ['gunicorn a:b -b unix:{socket}', 'gunicorn a:b -b unix:{socket}', 'socket'],
];

for (const [command, effective, on] of ADDED) {
  test(`${command} is run as ${effective}`, () => {
    const { command: words, shown, listening, warnings } = plan(command);
    const expected = splitCommand(effective);
    assert.ok(expected.ok);
    assert.deepEqual([words, shown], [expected.words, expected.words]);
    assert.deepEqual(listening, { on });
    assert.deepEqual(warnings, []);
  });
}

test('a placeholder in the environment is where the address goes', () => {
  const { command, listening } = plan('uvicorn a:b', { UVICORN_UDS: '{socket}' });
  assert.deepEqual(command, ['uvicorn', 'a:b']);
  assert.deepEqual(listening, { on: 'socket' });
});

const TOLD = [
  ['uvicorn a:b --uds /run/a.sock', { path: '/run/a.sock' }],
  ['uvicorn a:b --port=9001', { host: '127.0.0.1', port: 9001 }],
  ['uvicorn a:b --host {host} --port 9001', { host: '127.0.0.1', port: 9001 }],
  ['uvicorn a:b --host 10.0.0.1 --port 9001', { host: '10.0.0.1', port: 9001 }],
  ['gunicorn a:b -b 0.0.0.0:9001', { host: '127.0.0.1', port: 9001 }],
  ['gunicorn a:b --bind=[::1]:9001', { host: '::1', port: 9001 }],
  ['gunicorn a:b -b:9001', { host: '127.0.0.1', port: 9001 }],
  ['hypercorn a:b -b unix:/run/a.sock', { path: '/run/a.sock' }],
  ['puma -b unix:///run/a.sock', { path: '/run/a.sock' }],
  ['puma -p 9001', { host: '127.0.0.1', port: 9001 }],
  ['puma -b tcp://0.0.0.0:9001', { host: '127.0.0.1', port: 9001 }],
  ['rails server -b 0.0.0.0', { host: '127.0.0.1', port: 3000 }],
] as const;

for (const [command, address] of TOLD) {
  test(`${command} says itself where it listens`, () => {
    const one = plan(command);
    assert.deepEqual(one.command, command.split(' '));
    assert.deepEqual(one.listening, { on: 'fixed', address });
    assert.match(one.warnings.join(), /told to listen at one address/);
  });
}

test('a descriptor nobody opened and a bind that cannot be read are warned about', () => {
  for (const command of ['uvicorn a:b --fd 5', 'gunicorn a:b -b fd://3', 'uvicorn a:b --uds here.sock']) {
    assert.match(plan(command).warnings.join(), /write \{socket\}, \{port\} or \{fd\}/, command);
  }
});

test('processes inside a worker are warned about', () => {
  assert.match(plan('uvicorn a:b --workers 4').warnings.join(), /4 processes inside each worker/);
  assert.match(plan('gunicorn a:b -w4').warnings.join(), /4 processes inside each worker/);
  assert.match(plan('uvicorn a:b --uds {socket} --reload').warnings.join(), /--reload/);
  assert.match(plan('fastapi dev main.py').warnings.join(), /--reload/);
  assert.match(plan('gunicorn a:b', { WEB_CONCURRENCY: '3' }).warnings.join(), /WEB_CONCURRENCY=3/);
  assert.deepEqual(plan('gunicorn a:b -w 1', { WEB_CONCURRENCY: '1' }).warnings, []);
});

test('uvicorn is told to stop waiting for connections before it is killed', () => {
  assert.deepEqual(plan('uvicorn a:b --port {port}').env, { UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: '9' });
  assert.deepEqual(plan('gunicorn a:b').env, {});
});

test('what is added is shown beside what is not', () => {
  const command = ['uvicorn', 'a:b', '--header', 'x:hunter2', '--', 'x'];
  const shownCommand = ['uvicorn', 'a:b', '--header', '***', '--', 'x'];
  const { shown } = planCommand({ ...serviceConfig({ shownCommand }), command });
  assert.deepEqual(shown, ['uvicorn', 'a:b', '--header', '***', '--uds', '{socket}', '--', 'x']);
});
