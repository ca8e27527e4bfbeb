/** What may not be shown: to an operator's terminal, to a log, to whoever asks for the status. */
import type { Path, SourceDocument } from './document.ts';
import { splitCommand } from './shell_words.ts';

export const MASK = '***';

/** `key` alone is a file's name, in `tls`. */
const SECRET_NAME = /secret|token|passw|passphrase|credential|authorization|cookie|private|dsn|.key$/i;

export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

/** `scheme://user:password@host` */
export function hasCredentials(text: string): boolean {
  return /:\/\/[^/@]*:[^/@]*@/.test(text);
}

/** As many words: those a variable is part of, and values of flags with a secret's name, are `***`. */
export function showCommand(words: readonly string[], document: SourceDocument, at: Path): readonly string[] {
  const template = document.template(at);
  const fromVariable =
    template === null ? words.map((_, i) => document.template([...at, i]) !== null) : variableWords(template);
  // A variable that is several words, or none: which are its own cannot be told.
  if (fromVariable === null || fromVariable.length !== words.length) return words.map(() => MASK);
  return words.map((word, i) => {
    if (fromVariable[i] === true || hasCredentials(word)) return MASK;
    const flag = /^(--?[\w-]+)=/.exec(word)?.[1];
    if (flag !== undefined) return isSecretName(flag) ? `${flag}=${MASK}` : word;
    const before = words[i - 1] ?? '';
    return /^--[\w-]+$/.test(before) && isSecretName(before) && !word.startsWith('-') ? MASK : word;
  });
}

/** Which words of a line have a variable in them; null: the line cannot be split without its variables. */
function variableWords(template: string): readonly boolean[] | null {
  const split = splitCommand(template.replaceAll(/\$\$\{|\$\{[^}]*\}/g, '\0'));
  return split.ok ? split.words.map((word) => word.includes('\0')) : null;
}
