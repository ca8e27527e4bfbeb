import { readSource } from './configuration.ts';
import { complain, print } from './terminal.ts';
import { effectiveYaml } from '../config/effective.ts';
import { planCommand } from '../workers/presets.ts';

/** All problems of a file, each with its place; `effective`: what is valid, complete with defaults. Exit 0 or 2. */
export function validate(option: string | undefined, effective: boolean): number {
  const source = readSource(option);
  if (source === null) return 2;
  const { config, document } = source;
  const commands = new Map<string, readonly string[]>();
  for (const service of config.services) {
    const { name, command } = service;
    if (command === null) continue;
    const { shown, warnings } = planCommand({ ...service, command });
    commands.set(name, shown);
    for (const warning of warnings) complain(`warning: service ${name}: ${warning}`);
  }
  print(effective ? effectiveYaml(config, document, commands).trimEnd() : `${config.file} is valid`);
  return 0;
}
