/** How much of the machine is in use, for people: what an operator wants between half and nine tenths. */
import { readFileSync, statfsSync } from 'node:fs';
import { cpuLimit, createCpuMeter, readMemory } from '../machine.ts';

/** Shorter times say nothing of a CPU. */
const MEASURED_MS = 1_000;

export interface Space {
  /** Bytes. */
  readonly total: number;
  readonly available: number;
}

export interface MachineStatus {
  /** CPUs we may use, perhaps a part of one; and the share of the machine's that was busy lately, null: not known yet. */
  readonly cpus: number;
  readonly cpu: number | null;
  /** Each null where the system does not tell. */
  readonly memory: Space | null;
  readonly swap: Space | null;
  /** Where our state is kept. */
  readonly disk: Space | null;
}

export function createMachineStatus(stateDirectory: string, now: () => number = Date.now): () => MachineStatus {
  const meter = createCpuMeter();
  let measuredAt = now();
  let cpu: number | null = null;
  return () => {
    if (now() - measuredAt >= MEASURED_MS) {
      measuredAt = now();
      cpu = meter();
    }
    const memory = readMemory();
    return {
      cpus: cpuLimit(),
      cpu,
      memory: memory && { total: memory.limit, available: memory.available },
      swap: readSwap(),
      disk: readDisk(stateDirectory),
    };
  };
}

function readSwap(): Space | null {
  try {
    const text = readFileSync('/proc/meminfo', 'latin1');
    const [total, available] = ['SwapTotal', 'SwapFree'].map(
      (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1_024,
    );
    return total === undefined || available === undefined || Number.isNaN(total) ? null : { total, available };
  } catch {
    return null;
  }
}

function readDisk(folder: string): Space | null {
  try {
    const { bsize, blocks, bavail } = statfsSync(folder);
    return { total: blocks * bsize, available: bavail * bsize };
  } catch {
    return null;
  }
}
