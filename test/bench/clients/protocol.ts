/**
 * A load generator of ours runs in a process of its own, whose CPU time can be told from everybody else's. It prepares, waits
 * for the word, does its work and says what came of it. What was prepared stays until its parent ends it.
 */
import { fork } from 'node:child_process';
import path from 'node:path';

export interface Done<Result> {
  readonly result: Result;
  readonly wallSeconds: number;
  /** Of the generator itself. */
  readonly cpuSeconds: number;
}

/** In the generator: `prepare` gets its parent's options and returns the work. */
export function serve<Options, Result>(prepare: (options: Options) => Promise<() => Promise<Result>>): void {
  const options = JSON.parse(process.argv[2] ?? '') as Options;
  process.on('disconnect', () => process.exit(0));
  void prepare(options).then((work) => {
    process.once('message', () => {
      const begun = performance.now();
      const before = process.cpuUsage();
      void work().then((result) => {
        const { user, system } = process.cpuUsage(before);
        const wallSeconds = (performance.now() - begun) / 1e3;
        process.send?.({ result, wallSeconds, cpuSeconds: (user + system) / 1e6 } satisfies Done<Result>);
      });
    });
    process.send?.('ready');
  });
}

export interface Client<Result> extends AsyncDisposable {
  /** Says the word; resolves when the work is done. */
  work(): Promise<Done<Result>>;
}

/** In its parent: resolves when `file` has prepared. */
export async function startClient<Result>(file: string, options: object): Promise<Client<Result>> {
  const child = fork(path.join(import.meta.dirname, file), [JSON.stringify(options)]);
  const exited = new Promise<never>((_, reject) => {
    child.once('exit', (code, signal) => reject(new Error(`${file} ended with ${code ?? signal}`)));
  });
  exited.catch(() => {});
  const message = (): Promise<unknown> =>
    Promise.race([exited, new Promise((resolve) => child.once('message', resolve))]);
  await message();
  return {
    work: async () => {
      const done = message();
      child.send('go');
      return (await done) as Done<Result>;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited.catch(() => {});
    },
  };
}
