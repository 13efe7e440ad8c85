import type { TailResult, TailRun } from './tail.js';

/** Statistics of a distribution of errors. */
export interface TailStatistics {
  readonly mean: number;
  /** 99th percentile: the smallest error that at least 99 % of the samples do not exceed. */
  readonly p99: number;
  readonly max: number;
  /** Numbers of samples above half a grey level and above one. */
  readonly aboveHalf: number;
  readonly aboveOne: number;
  readonly of: number;
}

/** Statistics of errors in grey levels. */
export function tailStatistics(errors: readonly number[]): TailStatistics {
  const sorted = errors.toSorted((a, b) => a - b);
  return {
    mean: sorted.reduce((sum, error) => sum + error, 0) / sorted.length,
    p99: sorted[Math.ceil(0.99 * sorted.length) - 1],
    max: sorted[sorted.length - 1],
    aboveHalf: sorted.filter((error) => error > 0.5).length,
    aboveOne: sorted.filter((error) => error > 1).length,
    of: sorted.length,
  };
}

const HEADER = [
  'N',
  'sampler',
  'stopping, tolerance',
  'iterations',
  'critical speed-up',
  'error: mean',
  '99 %',
  'max',
  'above 0.5',
  'above 1',
  'over its floor',
  'worst 8x8 patch',
];

/** Results for some numbers of steps as a table. The first row is its header. */
export function tailTable(results: readonly TailResult[]): string[][] {
  // An interrupted run may have none.
  const measured = results.filter(({ runs }) => runs.length > 0 && runs.every(({ samples }) => samples.length > 0));
  return [HEADER, ...measured.flatMap(({ runs, floor }) => [...runs.map(rowOf), ...floorRow(runs[0].steps, floor)])];
}

function rowOf({ steps, caseName, sampler, stopping, tolerance, serial, samples }: TailRun): string[] {
  const mean = (of: (sample: TailRun['samples'][number]) => number) =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  return [
    String(steps),
    caseName === sampler ? caseName : `${caseName} (${sampler})`,
    `${stopping}, ${tolerance}`,
    mean(({ iteration }) => iteration).toFixed(2),
    mean(({ critical }) => serial / critical).toFixed(2),
    ...errorCells(samples, samples.filter(({ error, floor = 0 }) => error > 1 + floor).length),
  ];
}

function floorRow(steps: number, floor: TailResult['floor']): string[][] {
  return floor.length === 0 ? [] : [[String(steps), 'serial, alone', 'noise floor', '', '1.00', ...errorCells(floor)]];
}

/** @param overFloor number of samples more than a grey level above their own noise floor; undefined for the floor itself */
function errorCells(samples: TailResult['floor'], overFloor?: number): string[] {
  const { mean, p99, max, aboveHalf, aboveOne, of } = tailStatistics(samples.map(({ error }) => error));
  return [
    mean.toFixed(3),
    p99.toFixed(2),
    max.toFixed(2),
    `${aboveHalf} of ${of}`,
    String(aboveOne),
    overFloor === undefined ? '' : String(overFloor),
    Math.max(...samples.map(({ patch }) => patch)).toFixed(1),
  ];
}
