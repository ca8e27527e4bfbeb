/** Secrets for verbs: never on the command line, which every user of the machine can see. */
import { readFileSync } from 'node:fs';

/** `file:PATH` or `${NAME}` of the environment. Throws for anything else, for what is not there and for nothing. */
export function readPassphrase(option: string, env: NodeJS.ProcessEnv): string {
  const passphrase = valueOf(option, env);
  if (passphrase === '') throw new Error('the passphrase is empty');
  return passphrase;
}

function valueOf(option: string, env: NodeJS.ProcessEnv): string {
  if (option.startsWith('file:')) return readFileSync(option.slice('file:'.length), 'utf8').replace(/\r?\n$/, '');
  const name = /^\$\{(\w+)\}$/.exec(option)?.[1];
  if (name === undefined) {
    throw new Error(
      "the passphrase is given as file:PATH or as '${NAME}' of the environment, for others can see commands",
    );
  }
  const value = env[name];
  if (value === undefined) throw new Error(`the environment has no ${name}`);
  return value;
}
