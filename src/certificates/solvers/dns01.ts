/**
 * dns-01 (RFC 8555 section 8.4): a TXT record for as long as a CA needs to see it. Where `_acme-challenge.NAME` is a CNAME
 * the record is made at its end, so that a zone of its own can be all we may change.
 */
import { createHash } from 'node:crypto';
import { untilShown } from './propagation.ts';
import type { DnsLookup } from './dns_lookup.ts';
import type { Challenge, Solver } from './solver.ts';
import type { Storage } from '../storage/storage.ts';
import type { Logger } from '../../log.ts';

const RECORDS = 'challenges/dns-01';
/** A record that is this old belongs to nobody who still orders. */
const LIFE_MS = 30 * 60_000;

export interface TxtRecord {
  /** Without a final dot. */
  readonly name: string;
  readonly value: string;
  /** null: nobody could say. */
  readonly zone: string | null;
}

/** Makes and removes one TXT record beside others of the same name. Rejects with a `ChallengeError`. */
export interface RecordEditor {
  add(record: TxtRecord, signal: AbortSignal): Promise<void>;
  /** One that is not there is no error. */
  remove(record: TxtRecord): Promise<void>;
}

export interface Dns01Options {
  readonly editor: RecordEditor;
  readonly lookup: DnsLookup;
  readonly propagationTimeoutMs: number;
  /** Remembers what was made, for the next start to remove should this one die. */
  readonly storage: Storage;
  readonly log: Logger;
}

export function createDns01(options: Dns01Options): Solver {
  const { editor, lookup, storage, log } = options;
  /** By key authorization. */
  const made = new Map<string, TxtRecord>();
  return {
    type: 'dns-01',
    solves: ({ type }) => type === 'dns',
    arm: async ({ identifier, keyAuthorization }, signal) => {
      signal.throwIfAborted();
      const name = await lookup.follow(`_acme-challenge.${identifier.value}`);
      const value = createHash('sha256').update(keyAuthorization).digest('base64url');
      const record: TxtRecord = { name, value, zone: await lookup.zoneOf(name) };
      // What fails halfway may have been made all the same.
      made.set(keyAuthorization, record);
      await storage.write(placeOf(record), `${JSON.stringify({ ...record, expires: Date.now() + LIFE_MS })}\n`);
      await editor.add(record, signal);
      await untilShown(name, value, record.zone, { lookup, timeoutMs: options.propagationTimeoutMs, signal });
    },
    disarm: async ({ keyAuthorization }: Challenge) => {
      const record = made.get(keyAuthorization);
      if (record === undefined) return;
      made.delete(keyAuthorization);
      try {
        await editor.remove(record);
        await storage.remove(placeOf(record));
      } catch (error) {
        log.warn('dns_record_not_removed', { record: record.name, error });
      }
    },
  };
}

/** Records of instances that died before they could; those that cannot be removed are tried again at the next start. */
export async function removeLeftRecords(
  editor: RecordEditor,
  storage: Storage,
  log: Logger,
  now: number,
): Promise<void> {
  for (const key of await storage.list(RECORDS)) {
    const left = parse(await storage.read(`${RECORDS}/${key}`));
    if (left !== null && left.expires > now) continue;
    try {
      if (left !== null) await editor.remove(left.record);
      await storage.remove(`${RECORDS}/${key}`);
    } catch (error) {
      log.warn('dns_record_not_removed', { record: left?.record.name, error });
    }
  }
}

function placeOf({ name, value }: TxtRecord): string {
  return `${RECORDS}/${createHash('sha256').update(`${name} ${value}`).digest('hex').slice(0, 32)}`;
}

function parse(text: string | null): { readonly record: TxtRecord; readonly expires: number } | null {
  if (text === null) return null;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) return null;
    const { name, value, zone, expires } = parsed as Record<string, unknown>;
    if (typeof name !== 'string' || typeof value !== 'string' || typeof expires !== 'number') return null;
    return { record: { name, value, zone: typeof zone === 'string' ? zone : null }, expires };
  } catch {
    return null;
  }
}
