/** The bundle and the Node that runs this build, as one file that needs neither npm nor Node. */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';

export interface ExecutableParts {
  readonly bundle: string;
  /** Files by the name they are asked for. */
  readonly assets: Readonly<Record<string, string>>;
  readonly output: string;
}

export function buildExecutable({ bundle, assets, output }: ExecutableParts): void {
  const recipe = `${output}.json`;
  writeFileSync(
    recipe,
    JSON.stringify({
      main: bundle,
      output,
      assets,
      disableExperimentalSEAWarning: true,
      // A third less time until the first word.
      useCodeCache: true,
    }),
  );
  const { status, stderr } = spawnSync(process.execPath, ['--build-sea', recipe], { encoding: 'utf8' });
  rmSync(recipe);
  if (status !== 0) throw new Error(`node --build-sea: ${stderr}`);
}
