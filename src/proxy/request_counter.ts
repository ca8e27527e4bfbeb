/** Counts the requests of this process: one row for each site and service that had any. */
import type { RequestCounts } from '../request_counts.ts';
import {
  BYTES_IN,
  BYTES_OUT,
  DURATION,
  FIRST_BYTE,
  NONE,
  observe,
  PROTOCOLS,
  REQUESTS,
  ROW_LENGTH,
  STATUS_CLASSES,
} from '../request_counts.ts';

export class RequestRow {
  readonly site: string;
  readonly service: string;
  /** null: nothing was counted yet. Of 10,000 sites most have no requests. */
  #counts: Float64Array | null = null;
  #changed = false;

  constructor(site: string, service: string) {
    this.site = site;
    this.service = service;
  }

  /** `firstByteMs`: negative when no worker answered. */
  add(
    status: number,
    protocol: (typeof PROTOCOLS)[number],
    durationMs: number,
    firstByteMs: number,
    bytesIn: number,
    bytesOut: number,
  ): void {
    const row = (this.#counts ??= new Float64Array(ROW_LENGTH));
    this.#changed = true;
    const statusClass = status >= 100 && status < 600 ? Math.floor(status / 100) - 1 : STATUS_CLASSES.length - 1;
    row[REQUESTS + statusClass * PROTOCOLS.length + (protocol === 'HTTP/2' ? 1 : 0)]!++;
    // What a connection was changed to lasts as long as its people like: that is no answer's time.
    if (status !== 101) observe(row, DURATION, durationMs);
    if (firstByteMs >= 0) observe(row, FIRST_BYTE, firstByteMs);
    row[BYTES_IN]! += bytesIn;
    row[BYTES_OUT]! += bytesOut;
  }

  /** The counts, if they changed since they were last taken. */
  take(): RequestCounts | null {
    if (!this.#changed || this.#counts === null) return null;
    this.#changed = false;
    return { site: this.site, service: this.service, counts: Array.from(this.#counts) };
  }
}

export interface RequestCounter {
  /** The row of a site and, unless the answer is ours, a service; the same for as long as they are known. */
  row(site: string, service: string | null): RequestRow;
  /** Of what is for no site. */
  readonly strangers: RequestRow;
  /** From now on these sites are known; of others nothing is told any more. */
  keep(sites: readonly string[]): void;
  /** What changed since it was last taken. */
  take(): readonly RequestCounts[];
}

export function createRequestCounter(): RequestCounter {
  const strangers = new RequestRow(NONE, NONE);
  const sites = new Map<string, Map<string, RequestRow>>();
  return {
    strangers,
    row: (site, service) => {
      let rows = sites.get(site);
      if (rows === undefined) sites.set(site, (rows = new Map<string, RequestRow>()));
      const name = service ?? NONE;
      let row = rows.get(name);
      if (row === undefined) rows.set(name, (row = new RequestRow(site, name)));
      return row;
    },
    keep: (names) => {
      const known = new Set(names);
      for (const site of sites.keys()) if (!known.has(site)) sites.delete(site);
    },
    take: () => {
      const taken: RequestCounts[] = [];
      const from = (row: RequestRow): void => {
        const counts = row.take();
        if (counts !== null) taken.push(counts);
      };
      from(strangers);
      for (const rows of sites.values()) for (const row of rows.values()) from(row);
      return taken;
    },
  };
}
