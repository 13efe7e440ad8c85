import type { BenchmarkCase, Measurement, NoiseFloor } from './benchmark.js';

/** What the measurements of a sampler at a number of steps come to. */
export interface Summary {
  readonly steps: number;
  readonly caseName: BenchmarkCase;
  /** What was run, with its blocks or window; of `auto` each that was chosen. */
  readonly what: string;
  /** Median seconds from prompt to image. */
  readonly seconds: number;
  /** Of the serial sampler's median over this one. */
  readonly speedUp: number;
  /** Mean over prompts of serial evaluations over those on the critical path. */
  readonly criticalSpeedUp: number;
  readonly critical: { readonly mean: number; readonly max: number };
  readonly total: number;
  /** Mean share of the time inside the network. */
  readonly inside: number;
  /** Grey levels: mean over prompts, worst prompt, and prompts above one. */
  readonly error: { readonly mean: number; readonly max: number; readonly aboveOne: number; readonly of: number };
  /** Seconds as planned, and by which share that is off. */
  readonly predicted: number | null;
  readonly predictionError: number | null;
}

/** Summaries by number of steps and sampler, in the order in which they were measured. */
export function summarize(measurements: readonly Measurement[]): Summary[] {
  const groups = new Map<string, Measurement[]>();
  for (const measurement of measurements) {
    const key = `${measurement.steps} ${measurement.caseName}`;
    groups.set(key, [...(groups.get(key) ?? []), measurement]);
  }
  return [...groups.values()].map((group) => {
    const [{ steps, caseName }] = group;
    const serial = groups.get(`${steps} serial`) ?? group;
    const seconds = median(group.map((one) => one.seconds));
    const errors = group.map(({ error }) => error.mean);
    const predicted = group.map((one) => one.predicted).filter((value) => value !== null);
    const serialEvaluations = serial[0].critical;
    return {
      steps,
      caseName,
      what: [...new Set(group.map(({ sampler, parts }) => (parts === null ? sampler : `${sampler} ${parts}`)))].join(
        ', ',
      ),
      seconds,
      speedUp: median(serial.map((one) => one.seconds)) / seconds,
      criticalSpeedUp: mean(group.map(({ critical }) => serialEvaluations / critical)),
      critical: {
        mean: mean(group.map(({ critical }) => critical)),
        max: Math.max(...group.map(({ critical }) => critical)),
      },
      total: mean(group.map(({ total }) => total)),
      inside: mean(group.map(({ inside }) => inside)),
      error: {
        mean: mean(errors),
        max: Math.max(...errors),
        aboveOne: errors.filter((error) => error > 1).length,
        of: errors.length,
      },
      predicted: predicted.length > 0 ? mean(predicted) : null,
      predictionError: predicted.length > 0 ? mean(predicted) / seconds - 1 : null,
    };
  });
}

const HEAD = [
  'N',
  'sampler',
  'blocks or window',
  'time, ms',
  'against serial',
  'critical evaluations, mean (max)',
  'critical speed-up',
  'total',
  'in the network',
  'error, mean / worst prompt',
  'above 1 grey level',
  'planned, ms',
  'planned, off by',
];

/** The summaries as a table; the first row is its head. */
export function summaryTable(summaries: readonly Summary[], floors: readonly NoiseFloor[]): string[][] {
  const rows = summaries.map((row) => [
    String(row.steps),
    row.caseName,
    row.what,
    (1000 * row.seconds).toFixed(0),
    `${row.speedUp.toFixed(2)}x`,
    `${row.critical.mean.toFixed(1)} (${row.critical.max})`,
    row.criticalSpeedUp.toFixed(2),
    row.total.toFixed(0),
    `${(100 * row.inside).toFixed(0)} %`,
    `${row.error.mean.toFixed(3)} / ${row.error.max.toFixed(2)}`,
    `${row.error.aboveOne} of ${row.error.of}`,
    row.predicted === null ? '' : (1000 * row.predicted).toFixed(0),
    row.predictionError === null ? '' : `${(100 * row.predictionError).toFixed(0)} %`,
  ]);
  const floor = floors.map((row) => [
    String(row.steps),
    'noise floor',
    'serial in another bucket',
    ...['', '', '', '', '', ''],
    `${row.mean.toFixed(3)} / ${row.max.toFixed(2)}`,
    `of ${row.prompts}`,
    '',
    '',
  ]);
  return [HEAD, ...[...rows, ...floor].sort((a, b) => Number(a[0]) - Number(b[0]))];
}

/** A table as Markdown; the first row is its head. */
export function markdown([head, ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}
