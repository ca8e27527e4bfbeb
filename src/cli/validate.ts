import { readConfiguration } from './configuration.ts';
import { print } from './terminal.ts';

/** All problems of a file, each with its place. Exit 0 or 2. */
export function validate(option: string | undefined): number {
  const config = readConfiguration(option);
  if (config === null) return 2;
  print(`${config.file} is valid`);
  return 0;
}
