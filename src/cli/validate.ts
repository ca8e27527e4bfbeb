import { readSource } from './configuration.ts';
import { print } from './terminal.ts';
import { effectiveYaml } from '../config/effective.ts';

/** All problems of a file, each with its place; `effective`: what is valid, complete with defaults. Exit 0 or 2. */
export function validate(option: string | undefined, effective: boolean): number {
  const source = readSource(option);
  if (source === null) return 2;
  print(effective ? effectiveYaml(source.config, source.document).trimEnd() : `${source.config.file} is valid`);
  return 0;
}
