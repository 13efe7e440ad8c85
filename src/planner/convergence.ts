import { z } from 'zod';
import type { Partition } from '../sampler/partition.js';

/** Iterations that a model took. */
export interface ConvergenceRecord {
  readonly sampler: 'srds' | 'picard';
  readonly steps: number;
  /** Blocks of srds, window of picard. */
  readonly parts: number;
  /** Grey levels. */
  readonly tolerance: number;
  /** Guidance scale. */
  readonly guidance: number;
  /** Scale of classifier-free guidance where the network takes the guidance scale as an input; default: `guidance`. */
  readonly cfgScale?: number | undefined;
  /** Number of images. */
  readonly runs: number;
  /** Mean number of their iterations. */
  readonly iterations: number;
  /** What the bundled model takes for the same. */
  readonly expected: number;
}

const record: z.ZodType<ConvergenceRecord> = z.object({
  sampler: z.enum(['srds', 'picard']),
  steps: z.int().positive(),
  parts: z.int().positive(),
  tolerance: z.number().positive(),
  guidance: z.number(),
  cfgScale: z.number().optional(),
  runs: z.number().positive(),
  iterations: z.number().nonnegative(),
  expected: z.number().positive(),
});

export const convergenceFile = z.object({ records: z.array(record) });

/** How many iterations a model takes: what its runs showed, and what to expect before that. */
export interface Convergence {
  /** Factor to the bundled model's iterations beyond the first, for a model of which nothing is known. */
  readonly prior: number;
  /** Weight of the prior, in runs. */
  readonly priorRuns: number;
  readonly records: readonly ConvergenceRecord[];
}

/** The bundled model, whose figures the formulas are: means over many prompts, where single ones take from one to four iterations. */
export const BUNDLED_CONVERGENCE: Convergence = { prior: 1, priorRuns: 12, records: [] };
/** A model that no run has shown. A network with random weights takes three times as many iterations beyond the first. */
export const UNKNOWN_CONVERGENCE: Convergence = { prior: 3, priorRuns: 0.25, records: [] };

/** What forecasts rest on, in words: recorded runs, or the prior. */
export function basisOf({ prior, records }: Convergence = BUNDLED_CONVERGENCE): string {
  const images = (sampler: ConvergenceRecord['sampler']) =>
    records.filter((one) => one.sampler === sampler).reduce((sum, { runs }) => sum + runs, 0);
  const [srds, picard] = [images('srds'), images('picard')];
  if (srds + picard > 0) {
    return `records of this model: ${counted(srds)} with srds, ${counted(picard)} with picard`;
  }
  const figures = "the bundled model's figures";
  return `the prior only: ${prior === 1 ? figures : `${prior} times ${figures}`}, as no run of this model is recorded`;
}

function counted(images: number): string {
  return images === 0 ? 'none' : `${images} ${images === 1 ? 'image' : 'images'}`;
}

/**
 * Mean number of iterations after which SRDS stops: on the bundled model it falls with the number of blocks and with the length of the
 * first block relative to the longest, and hardly depends on the number of steps. What runs on another model showed scales it, and
 * the mean of runs with the same settings counts most. Source: `srds bench` and `npm run bench:convergence`, 25 to 961 steps.
 * @param tolerance in grey levels
 */
export function expectedIterations(
  partition: Partition,
  tolerance = USUAL_TOLERANCE,
  { prior, priorRuns, records }: Convergence = BUNDLED_CONVERGENCE,
): number {
  const blocks = partition.length;
  const steps = partition.reduce((sum, length) => sum + length, 0);
  const first = partition[0] / Math.max(...partition);
  const further = ((EXCESS * first ** 0.45) / blocks ** 0.58) * growth(tolerance);
  const own = records.filter(({ sampler }) => sampler === 'srds');
  const factor = ratio(
    own,
    { prior, priorRuns },
    ({ iterations }) => iterations - 1,
    ({ expected }) => expected - 1,
  );
  const mean = blended(1 + further * factor, priorRuns, own.find(isLike({ steps, parts: blocks, tolerance })));
  return Math.max(1, Math.min(blocks, mean));
}

/**
 * Mean number of passes after which picard stops: some for the sample to settle, and those that the window needs to reach the
 * end. Source: as above.
 */
export function expectedPasses(
  steps: number,
  window: number,
  tolerance = USUAL_TOLERANCE,
  { prior, priorRuns, records }: Convergence = BUNDLED_CONVERGENCE,
): number {
  const usual = SETTLE + (Math.max(0, steps - window) / window) * PER_WINDOW;
  const further = Math.log(tolerance / SETTLED_TOLERANCE) / Math.log(PER_PASS);
  const own = records.filter(({ sampler }) => sampler === 'picard');
  const factor = ratio(
    own,
    { prior: Math.sqrt(prior), priorRuns },
    ({ iterations }) => iterations,
    ({ expected }) => expected,
  );
  const mean = blended((usual + further) * factor, priorRuns, own.find(isLike({ steps, parts: window, tolerance })));
  return Math.max(1, Math.min(steps - 1, mean));
}

/** Iterations after the first, relative to those at 0.1 grey levels. */
function growth(tolerance: number): number {
  return (0.1 / tolerance) ** 0.9;
}

/** Ratio of what was measured to what was expected over all records. */
function ratio(
  records: readonly ConvergenceRecord[],
  { prior, priorRuns }: Pick<Convergence, 'prior' | 'priorRuns'>,
  measured: (one: ConvergenceRecord) => number,
  expected: (one: ConvergenceRecord) => number,
): number {
  const sum = (of: (one: ConvergenceRecord) => number) => records.reduce((total, one) => total + one.runs * of(one), 0);
  return (priorRuns * prior + sum(measured)) / (priorRuns + sum(expected));
}

function blended(expected: number, priorRuns: number, known: ConvergenceRecord | undefined): number {
  if (!known) return expected;
  return (priorRuns * expected + known.runs * known.iterations) / (priorRuns + known.runs);
}

function isLike(wanted: Pick<ConvergenceRecord, 'steps' | 'parts' | 'tolerance'>) {
  return ({ steps, parts, tolerance }: ConvergenceRecord) =>
    steps === wanted.steps && parts === wanted.parts && tolerance === wanted.tolerance;
}

/** Runs beyond these replace older ones. */
const MAX_RUNS = 50;

/** The records after further runs with the same settings. @param iterations of each run */
export function withRuns(
  records: readonly ConvergenceRecord[],
  settings: Omit<ConvergenceRecord, 'runs' | 'iterations'>,
  iterations: readonly number[],
): ConvergenceRecord[] {
  const isSame = (one: ConvergenceRecord) =>
    isLike(settings)(one) &&
    one.sampler === settings.sampler &&
    one.guidance === settings.guidance &&
    one.cfgScale === settings.cfgScale;
  const known = records.find(isSame);
  const before = Math.min(known?.runs ?? 0, MAX_RUNS - 1);
  const runs = before + iterations.length;
  const sum = before * (known?.iterations ?? 0) + iterations.reduce((total, one) => total + one, 0);
  return [...records.filter((one) => !isSame(one)), { ...settings, runs, iterations: sum / runs }];
}

/** The default of the pipeline. */
const USUAL_TOLERANCE = 0.08;
const EXCESS = 7;
/** Each pass leaves about this share of a change. */
const PER_PASS = 0.5;
/** Passes that a sample takes to settle, at the tolerance after it. */
const SETTLE = 11;
const SETTLED_TOLERANCE = 1 / 6;
const PER_WINDOW = 1.2;
