import { mean } from '../statistics.js';
import type { Measurement } from './benchmark.js';
import type { BenchmarkCase } from './cases.js';
import type { NoiseFloor } from './noiseFloor.js';

/** Statistics of one case at one number of steps, over its prompts. */
export interface Summary {
  readonly steps: number;
  readonly caseName: BenchmarkCase;
  /** Sampler that ran, with its blocks or window. For `auto`, each sampler that was chosen. */
  readonly what: string;
  /** Median seconds from prompt to image. */
  readonly seconds: number;
  /** Median seconds of sampling. */
  readonly sampling: number;
  /** Ratio of the serial sampler's median seconds to those from prompt to image. */
  readonly speedUp: number;
  /** Ratio of serial evaluations to those on the critical path, mean over prompts. */
  readonly criticalSpeedUp: number;
  /** Evaluations on the critical path. */
  readonly critical: { readonly mean: number; readonly max: number };
  /** All evaluations, mean over prompts. */
  readonly total: number;
  /** Share of the time in the networks, mean over prompts. */
  readonly inside: number;
  /** Mean difference to the serial image in grey levels: mean, worst prompt, and number of prompts above 1. */
  readonly error: { readonly mean: number; readonly max: number; readonly aboveOne: number; readonly of: number };
  /** Median of the seconds of sampling that the planner predicts; null for samplers that it cannot predict. */
  readonly predicted: number | null;
  /** Relative error of that prediction. */
  readonly predictionError: number | null;
}

/** Summarizes measurements by number of steps and case, in the order of the measurements. */
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
    const sampling = median(group.map((one) => one.sampling));
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
      sampling,
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
      predicted: predicted.length > 0 ? median(predicted) : null,
      predictionError: predicted.length > 0 ? median(predicted) / sampling - 1 : null,
    };
  });
}

const HEADER = [
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
  'sampling, ms',
  'planned, ms',
  'planned, off by',
];

/** The summaries and noise floors as a table. The first row is its header. */
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
    (1000 * row.sampling).toFixed(0),
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
    ...['', '', ''],
  ]);
  return [HEADER, ...[...rows, ...floor].sort((a, b) => Number(a[0]) - Number(b[0]))];
}

/** Formats a table as Markdown. The first row is its header. */
export function markdown([header, ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}
