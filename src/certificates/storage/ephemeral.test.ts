import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { ephemeralReason, findEphemeral, isContainer } from './ephemeral.ts';
import type { ContainerSigns } from './ephemeral.ts';

const MACHINE: ContainerSigns = { marks: [], kubernetes: false, cgroup: '0::/init.scope\n' };
const DOCKER: ContainerSigns = { marks: ['/.dockerenv'], kubernetes: false, cgroup: '0::/\n' };
const POD: ContainerSigns = { marks: [], kubernetes: true, cgroup: '0::/\n' };

const ROOT_OVERLAY =
  '1032 921 0:98 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B,upperdir=/var/lib/docker/overlay2/f00/diff,workdir=/var/lib/docker/overlay2/f00/work';
const ROOT_EXT4 = '29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro';
const ROOT_BTRFS =
  '580 500 0:44 /@/var/lib/docker/btrfs/subvolumes/c0ffee / rw,relatime - btrfs /dev/sda2 rw,subvolid=9';
const VOLUME = 'c'.repeat(64);

function docker(line: string): string | null {
  return ephemeralReason('/data', `${ROOT_OVERLAY}\n${line}\n`, DOCKER);
}

test("a container's own layer ends with it, whatever its storage driver", () => {
  assert.match(ephemeralReason('/data', `${ROOT_OVERLAY}\n`, DOCKER) ?? '', /part of its container \(overlay on \/\)/);
  assert.match(ephemeralReason('/data', `${ROOT_BTRFS}\n`, DOCKER) ?? '', /part of its container \(btrfs on \/\)/);
});

test('a named volume and a folder of the host stay', () => {
  const at = 'rw,relatime master:1 - ext4 /dev/sda1 rw';
  assert.equal(docker(`1050 1032 8:1 /var/lib/docker/volumes/proxy-state/_data /data ${at}`), null);
  assert.equal(docker(`1050 1032 8:1 /srv/proxy /data ${at}`), null);
  assert.equal(docker(`1050 1032 0:60 / /data rw,relatime - nfs4 10.0.0.2:/export rw,vers=4.2`), null);
});

test('an anonymous volume is not what the next container gets, wherever the engine keeps its volumes', () => {
  for (const root of [
    `/var/lib/docker/volumes/${VOLUME}/_data`,
    `/volumes/${VOLUME}/_data`,
    `/home/me/.local/share/containers/storage/volumes/${VOLUME}/_data`,
  ]) {
    const reason = docker(`1050 1032 8:1 ${root} /data rw,relatime master:1 - ext4 /dev/sda1 rw`);
    assert.match(reason ?? '', /an anonymous volume .* give the volume a name/, root);
  }
});

test('an emptyDir ends with its pod, on disk as in memory; a claim and a hostPath stay', () => {
  const pod = (root: string, type = 'ext4'): string | null =>
    ephemeralReason(
      '/data/state',
      `${ROOT_OVERLAY}\n77 1032 8:1 ${root} /data rw,relatime - ${type} /dev/sda1 rw`,
      POD,
    );
  const pods = '/var/lib/kubelet/pods/0a1b2c3d-1111-2222-3333-444455556666';
  assert.match(pod(`${pods}/volumes/kubernetes.io~empty-dir/state`) ?? '', /emptyDir volume/);
  assert.match(pod('/', 'tmpfs') ?? '', /in memory \(tmpfs on \/data\)/);
  assert.equal(pod(`${pods}/volumes/kubernetes.io~csi/pvc-1/mount`), null);
  assert.equal(pod('/srv/proxy'), null);
});

test('memory is forgotten on a machine as well', () => {
  const text = `${ROOT_EXT4}\n30 29 0:25 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=800000k,mode=755\n`;
  assert.match(ephemeralReason('/run/proxy', text, MACHINE) ?? '', /in memory \(tmpfs on \/run\)/);
  assert.match(ephemeralReason('/run', text, MACHINE) ?? '', /in memory/);
  assert.equal(ephemeralReason('/running', text, MACHINE), null);
  assert.equal(ephemeralReason('/var/lib/proxy', text, MACHINE), null);
});

test('of an overlay on a machine it matters where its upper layer is', () => {
  const live = (upper: string): string =>
    `20 1 0:20 / /cow rw - tmpfs tmpfs rw\n29 1 0:29 / / rw - overlay overlay rw,lowerdir=/rofs,upperdir=${upper},workdir=/w\n21 1 8:1 / /flash rw - ext4 /dev/sda1 rw`;
  assert.match(ephemeralReason('/var/lib/proxy', live('/cow/upper'), MACHINE) ?? '', /kept in memory/);
  assert.equal(ephemeralReason('/var/lib/proxy', live('/flash/upper'), MACHINE), null);
});

test('names with spaces, mounts on mounts, and what nobody can parse', () => {
  const spaced = `${ROOT_EXT4}\n40 29 0:40 / /srv/my\\040state rw - tmpfs tmpfs rw\n`;
  assert.match(ephemeralReason('/srv/my state/x', spaced, MACHINE) ?? '', /in memory/);
  const twice = `${ROOT_EXT4}\n40 29 0:40 / /srv rw - tmpfs tmpfs rw\n41 29 8:2 / /srv rw - ext4 /dev/sdb1 rw\n`;
  assert.equal(ephemeralReason('/srv/x', twice, MACHINE), null);
  assert.equal(ephemeralReason('/srv', '', DOCKER), null);
  assert.equal(ephemeralReason('/srv', 'nonsense\n\n1 2 3', DOCKER), null);
});

test('tells containers of applications from machines and from containers that are machines', () => {
  assert.equal(isContainer(MACHINE), false);
  assert.equal(isContainer({ ...MACHINE, cgroup: '12:pids:/lxc/web1\n' }), false);
  assert.equal(isContainer({ ...MACHINE, marks: ['/run/.containerenv'] }), true);
  assert.equal(isContainer(POD), true);
  assert.equal(isContainer({ ...MACHINE, cgroup: '12:pids:/docker/0123abcd\n' }), true);
  assert.equal(isContainer({ ...MACHINE, cgroup: '0::/kubepods.slice/pod1/cri-containerd-1.scope\n' }), true);
});

test('finds where a folder is that is not there yet, through a link', { skip: process.platform !== 'linux' }, () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-ephemeral-'));
  try {
    symlinkSync('/dev/shm', path.join(folder, 'link'));
    assert.match(findEphemeral(path.join(folder, 'link/a/b'), {}) ?? '', /^\/dev\/shm\/a\/b is in memory/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
