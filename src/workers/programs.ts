/** Which program a command runs in the end: seen through interpreters, runners of environments, and paths. */
import path from 'node:path';

export interface Program {
  /** Without folder and without `.py` or the like. */
  readonly name: string;
  /** Its place in the command. */
  readonly index: number;
}

/** Runners, the word that makes them run something, and their flags that take a value. */
const RUNNERS: Readonly<Record<string, { readonly verb: string; readonly valued: readonly string[] }>> = {
  uv: {
    verb: 'run',
    valued:
      '--with --with-editable --with-requirements --python -p --env-file --project --directory --extra --group --package --only-group --no-group --index --index-url --extra-index-url --cache-dir --config-file'.split(
        ' ',
      ),
  },
  poetry: { verb: 'run', valued: ['-C', '--directory', '-P', '--project'] },
  pipenv: { verb: 'run', valued: [] },
  pdm: { verb: 'run', valued: ['-p', '--project', '--venv'] },
  bundle: { verb: 'exec', valued: ['--gemfile'] },
};

/** Flags of python that take the next word. */
const PYTHON_VALUED = ['-X', '-W', '--check-hash-based-pycs'];
const PYTHON = /^(?:python|pypy)(?:\d+(?:\.\d+)?)?$/;

/** null: it cannot be told. */
export function findProgram(command: readonly string[], from = 0): Program | null {
  const word = command[from];
  if (word === undefined) return null;
  const name = path.basename(word);
  if (PYTHON.test(name)) return afterPython(command, from + 1);
  const runner = RUNNERS[name];
  if (runner === undefined) return { name, index: from };
  const verb = skipFlags(command, from + 1, runner.valued);
  if (command[verb] !== runner.verb) return { name, index: from };
  const next = skipFlags(command, verb + 1, runner.valued);
  // `uv run -m uvicorn`
  if (['-m', '--module'].includes(command[next - 1] ?? '')) return moduleAt(command, next);
  return findProgram(command, next);
}

function afterPython(command: readonly string[], from: number): Program | null {
  for (let i = from; i < command.length; i++) {
    const word = command[i] ?? '';
    if (word === '-m') return moduleAt(command, i + 1);
    // `-um uvicorn`: short flags in one word.
    if (/^-[a-zA-Z]+m$/.test(word)) return moduleAt(command, i + 1);
    if (word === '-c' || word === '-') return null;
    if (PYTHON_VALUED.includes(word)) i++;
    else if (!word.startsWith('-')) return { name: path.basename(word), index: i };
  }
  return null;
}

function moduleAt(command: readonly string[], index: number): Program | null {
  const word = command[index];
  if (word === undefined) return null;
  // `python -m gunicorn.app.wsgiapp` is the longer name of the same.
  return { name: word.split('.')[0] ?? word, index };
}

function skipFlags(command: readonly string[], from: number, valued: readonly string[]): number {
  let i = from;
  for (; i < command.length; i++) {
    const word = command[i] ?? '';
    if (word === '--') return i + 1;
    if (word === '-m' || word === '--module') return i + 1;
    if (!word.startsWith('-')) break;
    if (valued.includes(word)) i++;
  }
  return i;
}
