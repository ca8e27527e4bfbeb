/** What takes too long for every run of the tests: `npm run prove NAME`; without a name, which there are. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { complain, complainAbout, formatTable, print } from '../../src/cli/terminal.ts';

interface Proof {
  /** What it shows, in a line. */
  readonly SUMMARY: string;
  /** Prints its figures; throws when they are not as they must be. */
  prove(): Promise<void>;
}

const names = readdirSync(import.meta.dirname)
  .map((file) => path.basename(file, '.ts'))
  .filter((name) => name !== 'prove');

async function load(name: string): Promise<Proof> {
  return (await import(`./${name}.ts`)) as Proof;
}

const [wanted] = process.argv.slice(2);
if (wanted === undefined) {
  print(formatTable(await Promise.all(names.map(async (name) => [name, (await load(name)).SUMMARY]))));
} else if (!names.includes(wanted)) {
  complain(`there is no proof "${wanted}", but ${names.join(', ')}`);
  process.exitCode = 1;
} else {
  try {
    await (await load(wanted)).prove();
  } catch (error) {
    complainAbout(error);
    // The load of a proof that failed would go on for ever.
    process.exit(1);
  }
}
