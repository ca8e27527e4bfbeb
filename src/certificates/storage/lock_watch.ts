/** Whether whoever holds a lock lives: judged by what the waiter itself saw, never by a wall clock. */
import os from 'node:os';
import { readlinkSync } from 'node:fs';
import { bootId, isAlive, processRecord } from '../../process_lock.ts';
import type { ProcessRecord } from '../../process_lock.ts';

/** Of the holder's, each of which changes the record. */
export const BEAT_MS = 5_000;
/** Two beats missed and a bit: with the last look after it, still within 15 s. */
const STALE_MS = 12_000;
/** A record that says nothing was never finished. */
const STALE_UNREADABLE_MS = 2_000;
/** Time the waiter slept through proves nothing about the holder, who may have slept as well. */
const MAX_GAP_MS = 1_000;

export interface LockRecord extends ProcessRecord {
  readonly token: string;
  /** Process numbers of one machine mean something only in one namespace: containers share its boot. */
  readonly namespace: string;
  /** For people. */
  readonly host: string;
}

export function ownRecord(token: string): LockRecord {
  return { token, ...processRecord(process.pid), namespace: pidNamespace(), host: os.hostname() };
}

/** Always of one length for one holder: it is written in place. */
export function formatRecord(record: LockRecord, beat: number): string {
  return `${JSON.stringify({ ...record, beat: String(beat).padStart(10, '0') })}\n`;
}

export function parseRecord(text: string): LockRecord | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return null;
    const { token, pid, startTime, boot, namespace, host } = value as Record<string, unknown>;
    if (typeof token !== 'string' || typeof pid !== 'number' || typeof startTime !== 'number') return null;
    if (typeof boot !== 'string' || typeof namespace !== 'string' || typeof host !== 'string') return null;
    return { token, pid, startTime, boot, namespace, host };
  } catch {
    return null;
  }
}

/** The same record, seen for how long. */
export interface Sighting {
  readonly text: string;
  /** Milliseconds of the waiter's monotonic clock, at the last look. */
  readonly at: number;
  readonly unchangedMs: number;
}

export function look(before: Sighting | null, text: string, at: number): Sighting {
  if (before === null || before.text !== text) return { text, at, unchangedMs: 0 };
  return { text, at, unchangedMs: before.unchangedMs + Math.min(at - before.at, MAX_GAP_MS) };
}

export function isStale({ text, unchangedMs }: Sighting): boolean {
  const record = parseRecord(text);
  if (record === null) return unchangedMs >= STALE_UNREADABLE_MS;
  return unchangedMs >= STALE_MS || isKnownDead(record);
}

function isKnownDead(record: LockRecord): boolean {
  const boot = bootId();
  // Elsewhere than on Linux nothing tells one process from a later one of its number.
  return boot !== '' && boot === record.boot && pidNamespace() === record.namespace && !isAlive(record);
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}
