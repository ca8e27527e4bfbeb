/** A file system of its own, small enough to be filled. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { run } from './processes.ts';

/** What keeps a test from having one; false: nothing does. */
export const noSmallDisk: string | false = process.getuid?.() !== 0 && 'mounting a disk to be filled needs root';

export interface SmallDisk extends AsyncDisposable {
  readonly folder: string;
  /** Takes all of it but `bytes`, rounded down to whole blocks; 0: all. */
  leave(bytes: number): void;
  makeReadOnly(): Promise<void>;
}

/** 64 KiB. */
export async function mountSmallDisk(): Promise<SmallDisk> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-small-disk-'));
  const mount = async (...args: readonly string[]): Promise<void> => {
    const { code, stderr } = await run('mount', args);
    assert.equal(code, 0, stderr);
  };
  await mount('-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', folder);
  const ballast = path.join(folder, '.ballast');
  return {
    folder,
    leave: (bytes) => {
      rmSync(ballast, { force: true });
      const { bavail, bsize } = statfsSync(folder);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail - Math.floor(bytes / bsize)) * bsize));
    },
    makeReadOnly: () => mount('-o', 'remount,ro', folder),
    [Symbol.asyncDispose]: async () => {
      const { code, stderr } = await run('umount', [folder]);
      assert.equal(code, 0, stderr);
      rmSync(folder, { recursive: true });
    },
  };
}
