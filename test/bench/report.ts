/** Figures as people read them: medians with their quartiles, ratios of paired turns. */
import type { Results } from './rounds.ts';
import type { Sample, Scenario } from './scenarios.ts';

/** A generator busier than this may have been what held the rate down. */
const GENERATOR_LIMIT = 0.9;

export interface Spread {
  readonly median: number;
  readonly q1: number;
  readonly q3: number;
}

export interface ContenderReport {
  readonly contender: string;
  /** As many as the scenario has units. */
  readonly values: readonly Spread[];
  /** What the first contender's values are of this one's, from turns of the same round. */
  readonly ratios: readonly Spread[];
  /** null where the load generator was too busy to tell, or there is none. */
  readonly rate: number | null;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly ownCore: number | null;
  readonly generatorCore: number | null;
  readonly samples: readonly Sample[];
}

export interface ScenarioReport {
  readonly name: string;
  readonly title: string;
  readonly units: readonly string[];
  readonly contenders: readonly ContenderReport[];
  /** Those that are not installed. */
  readonly absent: readonly string[];
}

export function reportScenario(scenario: Scenario, results: Results): ScenarioReport {
  const first = [...results.values()][0] ?? [];
  const contenders = [...results].map(([contender, samples]): ContenderReport => {
    const valuesOf = (turns: readonly Sample[], unit: number): number[] =>
      turns.map(({ values }) => values[unit] ?? Number.NaN);
    const of = (pick: (sample: Sample) => number | undefined): number | null => {
      const values = samples.flatMap((sample) => pick(sample) ?? []);
      return values.length === 0 ? null : spread(values).median;
    };
    const generatorCore = of((sample) => sample.generatorCore);
    const told = generatorCore !== null && generatorCore < GENERATOR_LIMIT;
    return {
      contender,
      values: scenario.units.map((_, unit) => spread(valuesOf(samples, unit))),
      ratios: scenario.units.map((_, unit) => {
        const own = valuesOf(samples, unit);
        return spread(valuesOf(first, unit).map((value, round) => value / (own[round] ?? Number.NaN)));
      }),
      rate: told ? of((sample) => sample.rate) : null,
      p50Ms: told ? of((sample) => sample.p50Ms) : null,
      p99Ms: told ? of((sample) => sample.p99Ms) : null,
      ownCore: of((sample) => sample.ownCore),
      generatorCore,
      samples,
    };
  });
  const absent = scenario.contenders.map(({ name }) => name).filter((name) => !results.has(name));
  return { name: scenario.name, title: scenario.title, units: scenario.units, contenders, absent };
}

/** Linear between neighbours. */
function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => {
    const place = (sorted.length - 1) * share;
    const low = sorted[Math.floor(place)] ?? Number.NaN;
    const high = sorted[Math.ceil(place)] ?? Number.NaN;
    return low + (high - low) * (place - Math.floor(place));
  };
  return { median: at(0.5), q1: at(0.25), q3: at(0.75) };
}

/** One row per contender and unit. */
export function scenarioRows(scenario: Scenario, report: ScenarioReport): string[][] {
  const head = ['CONTENDER', 'UNIT', 'COST (quartiles)', 'RATE', 'P50 ms', 'P99 ms', 'OWN CORE', 'GENERATOR'];
  const rows = report.contenders.flatMap((row) =>
    report.units.map((unit, i) => [
      row.contender,
      unit,
      show(row.values[i], 1),
      i > 0 || row.rate === null ? '-' : `${row.rate.toFixed(0)} ${scenario.rateUnit}`,
      i > 0 ? '-' : (row.p50Ms?.toFixed(2) ?? '-'),
      i > 0 ? '-' : (row.p99Ms?.toFixed(2) ?? '-'),
      i > 0 ? '-' : percent(row.ownCore),
      i > 0 ? '-' : percent(row.generatorCore),
    ]),
  );
  return [head, ...rows, ...report.absent.map((name) => [name, 'skipped: it is not installed'])];
}

/** One row per scenario and unit: the first contender's cost as a multiple of each other's. */
export function ratioRows(reports: readonly ScenarioReport[]): string[][] {
  const names = [
    ...new Set(reports.flatMap(({ contenders }) => contenders.slice(1).map(({ contender }) => contender))),
  ];
  const head = ['RATIO (quartiles) of the first to', '', ...names.map((name) => name.toUpperCase())];
  const rows = reports.flatMap((report) =>
    report.units.map((unit, i) => [
      report.name,
      unit,
      ...names.map((name) => {
        const other = report.contenders.slice(1).find(({ contender }) => contender === name);
        return other === undefined ? '' : show(other.ratios[i], 2);
      }),
    ]),
  );
  return [head, ...rows];
}

function show(value: Spread | undefined, digits: number): string {
  if (value === undefined) return '-';
  return `${value.median.toFixed(digits)} (${value.q1.toFixed(digits)}–${value.q3.toFixed(digits)})`;
}

function percent(share: number | null): string {
  return share === null ? '-' : `${(share * 100).toFixed(0)} %`;
}
