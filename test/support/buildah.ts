/** Images made by Debian's buildah, in a storage of their own, without an engine and without a registry. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { run } from './processes.ts';

export interface ImageConfig {
  readonly user: string;
  readonly workingDirectory: string;
  readonly environment: readonly string[];
  /** Entrypoint and command. */
  readonly words: readonly string[];
  readonly healthcheck: readonly string[];
  readonly stopSignal: string;
  readonly volumes: readonly string[];
}

export interface Buildah {
  /** Makes an image of a folder. */
  importRoot(root: string, name: string, env: Readonly<Record<string, string>>): Promise<void>;
  build(options: {
    readonly name: string;
    readonly file: string;
    readonly context: string;
    readonly args?: Readonly<Record<string, string>>;
  }): Promise<void>;
  config(name: string): Promise<ImageConfig>;
  /** The folder that is the root of a new container of it. */
  mount(name: string): Promise<string>;
  /** Ends all mounts; the storage's folder can then be removed. */
  close(): Promise<void>;
}

export function createBuildah(folder: string): Buildah {
  const storage = ['--root', path.join(folder, 'storage'), '--runroot', path.join(folder, 'runroot')];
  const buildah = async (...words: readonly string[]): Promise<string> => {
    const env = { ...process.env, TMPDIR: folder };
    const done = await run('buildah', [...storage, '--storage-driver', 'vfs', ...words], { env });
    assert.equal(done.code, 0, `buildah ${words.join(' ')}\n${done.stdout.slice(-4_000)}${done.stderr.slice(-4_000)}`);
    return done.stdout.trim();
  };
  const mount = async (name: string): Promise<string> => {
    const container = await buildah('from', '--pull-never', name);
    return buildah('mount', container);
  };
  return {
    importRoot: async (root, name, env) => {
      const container = await buildah('from', 'scratch');
      const target = await buildah('mount', container);
      const copied = await run('cp', ['-a', `${root}/.`, target]);
      assert.equal(copied.code, 0, copied.stderr);
      for (const [key, value] of Object.entries(env)) await buildah('config', '--env', `${key}=${value}`, container);
      await buildah('commit', '--rm', '--quiet', container, name);
    },
    build: async ({ name, file, context, args = {} }) => {
      const words = Object.entries(args).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`]);
      const fixed = ['--isolation', 'chroot', '--format', 'docker', '--pull-never', '--layers=false'];
      await buildah('bud', ...fixed, ...words, '--tag', name, '--file', file, context);
    },
    config: async (name) => {
      const inspected = JSON.parse(await buildah('inspect', '--type', 'image', name)) as {
        Docker: { config: Record<string, unknown> };
      };
      const { config } = inspected.Docker;
      const words = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);
      const health = config['Healthcheck'] as { Test?: unknown } | undefined;
      return {
        user: String(config['User'] ?? ''),
        workingDirectory: String(config['WorkingDir'] || '/'),
        environment: words(config['Env']),
        words: [...words(config['Entrypoint']), ...words(config['Cmd'])],
        healthcheck: words(health?.Test),
        stopSignal: String(config['StopSignal'] ?? ''),
        volumes: Object.keys(config['Volumes'] ?? {}),
      };
    },
    mount,
    close: async () => {
      await buildah('umount', '--all');
      await buildah('rm', '--all');
    },
  };
}
