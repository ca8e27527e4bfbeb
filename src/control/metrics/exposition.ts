/** Families in the words of Prometheus or OpenMetrics, whichever is asked for. */
import { setImmediate } from 'node:timers/promises';
import type * as prometheus from 'prom-client';
import type { Metric } from 'prom-client';
import type { Family, Sample } from './families.ts';

/** At a stretch. 10,000 sites take seconds: nobody whose answer is awaited in time should wait for them. */
const SLICE = 200;

export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

let client: Promise<typeof prometheus> | null = null;

export async function expose(families: readonly Family[], accept: string): Promise<Exposition> {
  // Verbs that serve nothing should not wait for it: loading it takes 80 ms.
  const { Registry, openMetricsContentType, prometheusContentType } = await (client ??= import('prom-client'));
  // Who reads OpenMetrics says so; who says nothing reads the older text.
  const open = accept.includes('application/openmetrics-text');
  const contentType = open ? openMetricsContentType : prometheusContentType;
  let text = '';
  for (const family of families) {
    // There a counter's family is called without the ending of its series, which the registry adds.
    const name = open && family.type === 'counter' ? family.name.replace(/_total$/, '') : family.name;
    for (let from = 0; from === 0 || from < family.samples.length; from += SLICE) {
      const registry = new Registry<typeof contentType>();
      registry.setContentType(contentType);
      registry.registerMetric(counted(name, slice(family, from)));
      const lines = await registry.getSingleMetricAsString(name);
      // The first two say what it is, once.
      text += `${from === 0 ? lines : lines.slice(lines.indexOf('\n', lines.indexOf('\n') + 1) + 1)}\n`;
      if (family.samples.length > SLICE) await setImmediate();
    }
  }
  return { contentType, text: open ? `${text}# EOF\n` : text };
}

function slice(family: Family, from: number): Family {
  // What is left of its samples is of its type.
  return { ...family, samples: family.samples.slice(from, from + SLICE) } as Family;
}

interface Value extends Sample {
  /** When it is not its family's. */
  readonly metricName?: string;
}

/** What was counted elsewhere, as a metric: of those a registry uses the name and `get()`. */
function counted(name: string, family: Family): Metric {
  const { help, type } = family;
  const values = valuesOf(family);
  const metric = { name, get: () => Promise.resolve({ name, help, type, aggregator: 'sum', values }) };
  return metric as unknown as Metric;
}

function valuesOf(family: Family): readonly Value[] {
  if (family.type !== 'histogram') return family.samples;
  const { name } = family;
  return family.samples.flatMap(({ labels, buckets, sum }) => [
    ...buckets.map(([upTo, value]) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: upTo === Infinity ? '+Inf' : String(upTo) },
      value,
    })),
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: buckets.at(-1)?.[1] ?? 0 },
  ]);
}
