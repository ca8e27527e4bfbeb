/** What the metrics address exposes, read as strictly as a scraper does. */
import assert from 'node:assert/strict';

export interface Family {
  readonly type: string;
  readonly help: string;
}

export interface Scrape {
  readonly text: string;
  readonly contentType: string;
  /** By name. */
  readonly families: ReadonlyMap<string, Family>;
  /** By `name{labels}`, as written. */
  readonly series: ReadonlyMap<string, number>;
  /** The sum of the series of a name that have these labels. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
}

export async function scrape(port: number, headers: Readonly<Record<string, string>> = {}): Promise<Scrape> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const families = new Map<string, { type: string; help: string }>();
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === 'HELP') families.set(name, { type: '', help: rest });
    else if (kind === 'TYPE') families.set(name, { help: families.get(name)?.help ?? '', type: rest });
    if (line === '' || line.startsWith('#')) continue;
    const [, id = '', value = ''] = /^(\S.*) (\S+)$/.exec(line) ?? [];
    assert.match(id, /^[a-z_]+(\{([a-z_]+="(\\.|[^"\\])*",?)+\})?$/, line);
    assert.ok(!series.has(id), `${id} is there twice`);
    assert.ok(Number.isFinite(Number(value)), line);
    series.set(id, Number(value));
  }
  return {
    text,
    contentType: response.headers.get('content-type') ?? '',
    families,
    series,
    sum: (name, labels = {}) => {
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      let sum = 0;
      for (const [id, value] of series) {
        const [own, rest = ''] = id.split('{', 2);
        const has = rest.replace(/\}$/, '').split(/,(?=[a-z_]+=")/);
        if (own === name && wanted.every((label) => has.includes(label))) sum += value;
      }
      return sum;
    },
  };
}
