import { z } from 'zod';
import { plural } from '../errors.js';
import type { Partition } from '../sampler/partition.js';
import { mean, sum } from '../statistics.js';

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

/** Scales of guidance that a record is of, or a forecast for. */
export type GuidanceScales = Pick<ConvergenceRecord, 'guidance' | 'cfgScale'>;

/** How many iterations a model takes: what its runs showed, and what to expect before that. */
export interface Convergence extends GuidanceScales {
  /** Factor to the bundled model's iterations beyond the first, for a model of which nothing is known. */
  readonly prior: number;
  /** Weight of the prior, in runs. */
  readonly priorRuns: number;
  /** Guidance below which the prior expects no fewer iterations. */
  readonly priorGuidance: number;
  readonly records: readonly ConvergenceRecord[];
}

/** The guidance of the bundled model. */
const USUAL_GUIDANCE = 5;

/** The bundled model, whose figures the formulas are: means over many prompts, where single ones take from one to four iterations. */
export const BUNDLED_CONVERGENCE: Convergence = {
  guidance: USUAL_GUIDANCE,
  prior: 1,
  priorRuns: 12,
  priorGuidance: 0,
  records: [],
};
/** A model that no run has shown. A network with random weights takes three times as many iterations beyond the first. */
export const UNKNOWN_CONVERGENCE: Convergence = {
  guidance: USUAL_GUIDANCE,
  prior: 3,
  priorRuns: 0.25,
  priorGuidance: USUAL_GUIDANCE,
  records: [],
};

/** What forecasts rest on, in words: recorded runs, or the prior. */
export function basisOf(convergence: Convergence | undefined): string {
  const figures = "the bundled model's figures";
  if (!convergence) return `${figures}, since latencies say nothing of the iterations of a model`;
  const { prior, records } = convergence;
  const images = (sampler: ConvergenceRecord['sampler']) =>
    sum(records.filter((one) => one.sampler === sampler).map(({ runs }) => runs));
  const [srds, picard] = [images('srds'), images('picard')];
  if (srds + picard > 0) {
    return `records of this model: ${counted(srds)} with srds, ${counted(picard)} with picard`;
  }
  return `the prior only: ${prior === 1 ? figures : `${prior} times ${figures}`}, as no run of this model is recorded`;
}

function counted(images: number): string {
  return images === 0 ? 'none' : plural(images, 'image');
}

/**
 * Mean number of iterations after which SRDS stops. On the bundled model those beyond the first grow in proportion to guidance, with
 * the length of the first blocks relative to the others, and with the steps of a block; more blocks take fewer. What runs on another
 * model showed scales them, and the mean of runs with the same settings counts most. Source: `srds bench --tolerances`, 25 to 100 steps
 * with the default blocks, and a dozen prompts with others, up to 961 steps.
 * @param tolerance in grey levels
 * @param looksAhead whether the next changes are predicted; otherwise runs stop by the last change
 */
export function expectedIterations(
  partition: Partition,
  tolerance = USUAL_TOLERANCE,
  convergence: Convergence = BUNDLED_CONVERGENCE,
  looksAhead = true,
): number {
  const { prior, priorRuns, priorGuidance, records } = convergence;
  const blocks = partition.length;
  const steps = sum(partition);
  const scale = Math.max(1, convergence.cfgScale ?? convergence.guidance);
  // Blocks of one step need no correction.
  const usual = (EXCESS * (1 - blocks / steps) * rampOf(partition) ** 1.2) / Math.sqrt(blocks);
  const further = usual * growth(tolerance) * (scale / USUAL_GUIDANCE) * (looksAhead ? 1 : BY_LAST_CHANGE);
  const own = records.filter(({ sampler }) => sampler === 'srds');
  const factor = ratio(
    own,
    { prior: prior * Math.max(1, priorGuidance / scale), priorRuns },
    ({ iterations }) => iterations - 1,
    ({ expected }) => expected - 1,
  );
  const known = looksAhead ? own.find(isLike({ ...convergence, steps, parts: blocks, tolerance })) : undefined;
  return Math.max(1, Math.min(blocks, blended(1 + further * factor, priorRuns, known)));
}

/**
 * Mean number of passes after which picard stops: some for the sample to settle, one more for twice the steps, and those that the
 * window needs to reach the end. Source: as above.
 * @param looksAhead whether the change of all states counts; otherwise runs stop by the last change of the image
 */
export function expectedPasses(
  steps: number,
  window: number,
  tolerance = USUAL_TOLERANCE,
  convergence: Convergence = BUNDLED_CONVERGENCE,
  looksAhead = true,
): number {
  const { prior, priorRuns, records } = convergence;
  const settle = SETTLE + Math.log2(steps / SETTLED_STEPS) + (looksAhead ? 0 : PASSES_BY_LAST_CHANGE);
  const usual = settle + (Math.max(0, steps - window) / window) * PER_WINDOW;
  const further = Math.log(tolerance / SETTLED_TOLERANCE) / Math.log(PER_PASS);
  const own = records.filter(({ sampler }) => sampler === 'picard');
  const factor = ratio(
    own,
    { prior: Math.sqrt(prior), priorRuns },
    ({ iterations }) => iterations,
    ({ expected }) => expected,
  );
  const known = looksAhead ? own.find(isLike({ ...convergence, steps, parts: window, tolerance })) : undefined;
  return Math.max(1, Math.min(steps - 1, blended((usual + further) * factor, priorRuns, known)));
}

/** Mean length of the first two fifths of the blocks relative to the others: 1 for even blocks, about 0.55 for `rampedPartition`. */
function rampOf(partition: Partition): number {
  const first = Math.floor(0.4 * partition.length);
  if (first === 0) return 1;
  return mean(partition.slice(0, first)) / mean(partition.slice(first));
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
  const total = (of: (one: ConvergenceRecord) => number) => sum(records.map((one) => one.runs * of(one)));
  return (priorRuns * prior + total(measured)) / (priorRuns + total(expected));
}

function blended(expected: number, priorRuns: number, known: ConvergenceRecord | undefined): number {
  if (!known) return expected;
  return (priorRuns * expected + known.runs * known.iterations) / (priorRuns + known.runs);
}

/** Whether a record is of the same settings, sampler aside. */
function isLike(wanted: GuidanceScales & Pick<ConvergenceRecord, 'steps' | 'parts' | 'tolerance'>) {
  return ({ steps, parts, tolerance, guidance, cfgScale }: ConvergenceRecord) =>
    steps === wanted.steps &&
    parts === wanted.parts &&
    tolerance === wanted.tolerance &&
    guidance === wanted.guidance &&
    cfgScale === wanted.cfgScale;
}

/** Runs beyond these replace older ones. */
const MAX_RUNS = 50;
/** Records beyond these replace those that no run has changed for the longest time: clients choose the tolerance and guidance. */
const MAX_RECORDS = 200;

/** The records after further runs with the same settings. @param iterations of each run */
export function withRuns(
  records: readonly ConvergenceRecord[],
  settings: Omit<ConvergenceRecord, 'runs' | 'iterations'>,
  iterations: readonly number[],
): ConvergenceRecord[] {
  const isAlike = isLike(settings);
  const isSame = (one: ConvergenceRecord) => one.sampler === settings.sampler && isAlike(one);
  const known = records.find(isSame);
  const before = Math.min(known?.runs ?? 0, MAX_RUNS - 1);
  const runs = before + iterations.length;
  const total = before * (known?.iterations ?? 0) + sum(iterations);
  const others = records.filter((one) => !isSame(one)).slice(1 - MAX_RECORDS);
  return [...others, { ...settings, runs, iterations: total / runs }];
}

/** The default of the pipeline. */
const USUAL_TOLERANCE = 0.08;
const EXCESS = 8.4;
/** Iterations beyond the first by the last change, relative to those by the predicted one, at the same tolerance. */
const BY_LAST_CHANGE = 1.8;
/** Passes that picard takes further by the last change of the image. */
const PASSES_BY_LAST_CHANGE = 1;
/** Each pass leaves about this share of a change. */
const PER_PASS = 0.4;
/** Passes that a sample takes to settle, at the steps and the tolerance after it. */
const SETTLE = 10;
const SETTLED_STEPS = 50;
const SETTLED_TOLERANCE = 2 / 9;
const PER_WINDOW = 1.2;
