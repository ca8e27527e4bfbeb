/** Splitting a command line as a POSIX shell would, without a shell: what only a shell can do is refused. */

export type ShellWords =
  | { readonly ok: true; readonly words: readonly string[] }
  | { readonly ok: false; readonly problem: string };

const NEEDS_SHELL = /[|&;<>()`]/;

export function splitCommand(line: string): ShellWords {
  const words: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let i = 0; i < line.length; i++) {
    const char = line[i] ?? '';
    if (quote === "'") {
      if (char === "'") quote = null;
      else word += char;
    } else if (char === '\\') {
      const next = line[++i];
      if (next === undefined) return { ok: false, problem: 'ends in a backslash' };
      // In double quotes only these can be escaped.
      word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next);
    } else if (char === '"' || char === "'") {
      if (quote === null) {
        quote = char;
        word ??= '';
      } else if (quote === char) {
        quote = null;
      } else {
        word += char;
      }
    } else if (quote === null && /\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (
      (quote === null && NEEDS_SHELL.test(char)) ||
      char === '`' ||
      (char === '$' && /[\w({]/.test(line[i + 1] ?? ''))
    ) {
      return {
        ok: false,
        problem: `has "${char}", which only a shell understands; write a list such as [sh, -c, "…"]`,
      };
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== null) return { ok: false, problem: `has no closing ${quote}` };
  if (word !== null) words.push(word);
  return words.length > 0 ? { ok: true, words } : { ok: false, problem: 'is empty' };
}
