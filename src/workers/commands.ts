/** Finding what a command's first word means, or the nearest to it: whatever runs it later would hide why it cannot. */
import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { nearest } from '../config/nearest.ts';

/** Where projects keep programs of their own. */
const PROJECT_FOLDERS = ['.venv/bin', 'venv/bin', 'env/bin', 'node_modules/.bin', 'bin', '.'];

export type FoundCommand =
  | { readonly ok: true; readonly file: string }
  /** `hint`: what may have been meant. */
  | {
      readonly ok: false;
      readonly code: 'command_not_found' | 'no_directory';
      readonly problem: string;
      readonly hint: string | null;
    };

export function findCommand(command: string, directory: string, searchPath: string): FoundCommand {
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    return { ok: false, code: 'no_directory', problem: `the directory does not exist: ${directory}`, hint: null };
  }
  if (command.includes('/')) {
    const file = path.resolve(directory, command);
    if (isExecutable(file)) return { ok: true, file };
    const near = nearest(path.basename(file), executables([path.dirname(file)]));
    return {
      ok: false,
      code: 'command_not_found',
      problem: `command not found or not executable: ${file}`,
      hint: near === null ? elsewhere(path.basename(file), searchPath) : path.join(path.dirname(command), near),
    };
  }
  const file = findInPath(command, searchPath);
  if (file !== null) return { ok: true, file };
  const inProject = PROJECT_FOLDERS.find((folder) => isExecutable(path.join(directory, folder, command)));
  return {
    ok: false,
    code: 'command_not_found',
    problem: `command not found in PATH: ${command}`,
    hint:
      inProject === undefined
        ? nearest(command, executables(searchPath.split(path.delimiter)))
        : inProject === '.'
          ? `./${command}`
          : `${inProject}/${command}`,
  };
}

/** Where a project's own is missing, that of the machine. */
function elsewhere(command: string, searchPath: string): string | null {
  return findInPath(command, searchPath) === null ? null : command;
}

export function findInPath(command: string, searchPath: string): string | null {
  for (const folder of searchPath.split(path.delimiter)) {
    const file = path.join(folder, command);
    if (folder !== '' && isExecutable(file)) return file;
  }
  return null;
}

function executables(folders: readonly string[]): string[] {
  return folders.flatMap((folder) => {
    try {
      return folder === '' ? [] : readdirSync(folder).filter((name) => isExecutable(path.join(folder, name)));
    } catch {
      return [];
    }
  });
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
