/** Families in the words of Prometheus or OpenMetrics, whichever is asked for. */
import type * as prometheus from 'prom-client';
import type { Metric, Registry } from 'prom-client';
import type { Family, Sample } from './families.ts';

export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

let client: Promise<typeof prometheus> | null = null;

export async function expose(families: readonly Family[], accept: string): Promise<Exposition> {
  // Verbs that serve nothing should not wait for it: loading it takes 80 ms.
  const { Registry, openMetricsContentType } = await (client ??= import('prom-client'));
  const registry: Registry<Registry['contentType'] | typeof openMetricsContentType> = new Registry();
  // Who reads OpenMetrics says so; who says nothing reads the older text.
  if (accept.includes('application/openmetrics-text')) registry.setContentType(openMetricsContentType);
  for (const family of families) registry.registerMetric(counted(family));
  return { contentType: registry.contentType, text: await registry.metrics() };
}

interface Value extends Sample {
  /** When it is not its family's. */
  readonly metricName?: string;
}

/** What was counted elsewhere, as a metric: of those a registry uses the name, which it may change, and `get()`. */
function counted(family: Family): Metric {
  const { help, type } = family;
  const metric = {
    name: family.name,
    help,
    type,
    get: () => Promise.resolve({ name: metric.name, help, type, aggregator: 'sum', values: valuesOf(family) }),
  };
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
