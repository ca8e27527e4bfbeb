/** What is exposed, as plain values: families of samples, each told anew at every scrape, so that what is gone is gone. */
import { BUCKETS_MS } from '../../request_counts.ts';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** Cumulative by its upper bound in seconds, the last of which is Infinity. */
export interface Distribution {
  readonly labels: Labels;
  readonly buckets: readonly (readonly [upTo: number, count: number])[];
  readonly sum: number;
}

export type Family = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; readonly labels: readonly string[]; readonly samples: readonly Sample[] }
  | { readonly type: 'histogram'; readonly labels: readonly string[]; readonly samples: readonly Distribution[] }
);

/** What belongs into a family: a number with the values of its labels, in their order. */
export type Row = readonly [value: number, ...labels: string[]];

export function counter(name: string, help: string, labels: readonly string[], rows: readonly Row[]): Family {
  return { name, help, type: 'counter', labels, samples: rows.map((row) => sample(labels, row)) };
}

export function gauge(name: string, help: string, labels: readonly string[], rows: readonly Row[]): Family {
  return { name, help, type: 'gauge', labels, samples: rows.map((row) => sample(labels, row)) };
}

/** Rows are histograms of `request_counts.ts`, each with the values of its labels. */
export function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  rows: readonly (readonly [counts: readonly number[], ...labels: string[]])[],
): Family {
  const samples = rows.map(([counts, ...values]) => {
    let count = 0;
    const buckets = [...BUCKETS_MS, Infinity].map((ms, i) => [ms / 1_000, (count += counts[i] ?? 0)] as const);
    return { labels: named(labels, values), buckets, sum: (counts[BUCKETS_MS.length + 1] ?? 0) / 1_000 };
  });
  return { name, help, type: 'histogram', labels, samples };
}

function sample(labels: readonly string[], [value, ...values]: Row): Sample {
  return { labels: named(labels, values), value };
}

function named(labels: readonly string[], values: readonly string[]): Labels {
  return Object.fromEntries(labels.map((label, i) => [label, values[i] ?? '']));
}
