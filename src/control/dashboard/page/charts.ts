/** The charts of the last hour, of one service or of all. */
import uPlot from './uplot.js';
import { element } from './dom.ts';
import { bytes, milliseconds, percent, rate } from './format.ts';
import type { Sample, ServiceSample } from './model.ts';

const HOUR_S = 3_600;
/** What is shown of time at least: a line of two points is none. */
const LEAST_S = 300;
const HEIGHT = 180;
/** Told apart by those who see few colours, on light and on dark. */
const COLOURS = ['#2f7de1', '#e69f00', '#c8507a', '#1a9e77', '#8a63d2', '#7a8794', '#d55e00', '#56b4e9'];

interface Line {
  readonly label: string;
  readonly of: (sample: Sample) => number | null;
}

interface Chart {
  readonly title: string;
  readonly format: (value: number) => string;
  readonly lines: (samples: readonly Sample[], service: string | null) => readonly Line[];
}

const ofService =
  (pick: (service: ServiceSample) => number | null, merge: 'sum' | 'most') =>
  (service: string | null) =>
  (sample: Sample): number | null => {
    const values = Object.entries(sample.services)
      .filter(([name]) => service === null || name === service)
      .flatMap(([, one]) => pick(one) ?? []);
    if (values.length === 0) return null;
    return merge === 'sum' ? values.reduce((sum, value) => sum + value, 0) : Math.max(...values);
  };

const line = (
  label: string,
  pick: (service: ServiceSample) => number | null,
  merge: 'sum' | 'most',
): ((service: string | null) => Line) => {
  const of = ofService(pick, merge);
  return (service) => ({ label, of: of(service) });
};

/** One line for each place of a worker: what takes its place goes on with it. */
const workerLines =
  (key: 'memory' | 'cpu') =>
  (samples: readonly Sample[], service: string | null): Line[] => {
    const places = new Set<string>();
    for (const sample of samples) for (const id of Object.keys(sample.workers)) places.add(placeOf(id));
    return [...places]
      .filter((place) => service === null || place.startsWith(`${service}/`))
      .toSorted()
      .map((place) => ({
        label: place,
        of: (sample) => Object.entries(sample.workers).find(([id]) => placeOf(id) === place)?.[1][key] ?? null,
      }));
  };

/** `web/0/g12` → `web/0`. */
function placeOf(id: string): string {
  return id.split('/').slice(0, 2).join('/');
}

const always =
  (...lines: readonly ((service: string | null) => Line)[]): Chart['lines'] =>
  (_, service) =>
    lines.map((one) => one(service));

const CHARTS: readonly Chart[] = [
  { title: 'Requests a second', format: rate, lines: always(line('requests', (s) => s.requests, 'sum')) },
  {
    title: 'Time to answer',
    format: milliseconds,
    lines: always(
      line('half', (s) => s.p50, 'most'),
      line('95 %', (s) => s.p95, 'most'),
      line('99 %', (s) => s.p99, 'most'),
    ),
  },
  { title: 'Errors a second (5xx)', format: rate, lines: always(line('errors', (s) => s.errors, 'sum')) },
  {
    title: 'In flight and waiting',
    format: (value) => String(Math.round(value)),
    lines: always(
      line('in flight', (s) => s.inFlight, 'sum'),
      line('waiting', (s) => s.queued, 'sum'),
    ),
  },
  { title: 'Memory of workers', format: bytes, lines: workerLines('memory') },
  { title: 'CPU of workers (of a core)', format: percent, lines: workerLines('cpu') },
];

export interface Charts {
  draw(samples: readonly Sample[], service: string | null): void;
}

export function createCharts(container: HTMLElement): Charts {
  const drawn = CHARTS.map((chart) => createChart(container, chart));
  return {
    draw: (samples, service) => {
      for (const one of drawn) one.draw(samples, service);
    },
  };
}

function createChart(container: HTMLElement, chart: Chart): Charts {
  const place = element('div');
  const summary = element('p', { class: 'soft' });
  container.append(element('figure', { class: 'card' }, element('figcaption', {}, chart.title), place, summary));
  let plot: uPlot | null = null;
  let labels = '';
  new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);

  return {
    draw: (samples, service) => {
      const lines = chart.lines(samples, service);
      const data: uPlot.AlignedData = [
        samples.map(({ at }) => at / 1_000),
        ...lines.map(({ of }) => samples.map((sample) => of(sample))),
      ];
      const now = lines.map(({ label }) => label).join();
      if (plot === null || now !== labels) {
        plot?.destroy();
        labels = now;
        plot = new uPlot(optionsOf(chart, lines, place.clientWidth), data, place);
      } else {
        plot.setData(data);
      }
      // Also for those who cannot see the lines.
      const latest = samples.at(-1);
      summary.replaceChildren(
        ...lines.flatMap(({ label, of }, i) => {
          const value = latest === undefined ? null : of(latest);
          const told = `${label} ${value === null ? '–' : chart.format(value)}`;
          const mark = element('span', { 'aria-hidden': 'true' }, '■ ');
          mark.style.color = colour(i);
          return element('span', { class: 'key' }, mark, told);
        }),
      );
    },
  };
}

function optionsOf(chart: Chart, lines: readonly Line[], width: number): uPlot.Options {
  const axis: uPlot.Axis = {
    stroke: () => getComputedStyle(document.body).color,
    grid: { stroke: 'rgba(128,140,155,0.25)', width: 1 },
    ticks: { show: false },
    font: '12px system-ui',
  };
  return {
    width,
    height: HEIGHT,
    cursor: { y: false },
    legend: { show: false },
    scales: {
      x: {
        range: (_, first) => {
          const now = Date.now() / 1_000;
          return [Math.max(now - HOUR_S, Math.min(first ?? now, now - LEAST_S)), now];
        },
      },
      y: { range: (_, __, most) => [0, (most || 1) * 1.1] },
    },
    axes: [
      { ...axis, values: (_, at) => at.map((one) => clock(one)) },
      { ...axis, size: 70, values: (_, values) => values.map((value) => chart.format(value)) },
    ],
    series: [
      {},
      ...lines.map(({ label }, i) => ({
        label,
        stroke: colour(i),
        width: 1.5,
        points: { show: false },
      })),
    ],
  };
}

function colour(line: number): string {
  return COLOURS[line % COLOURS.length] ?? '';
}

function clock(seconds: number): string {
  return new Date(seconds * 1_000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}
