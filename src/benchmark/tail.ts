import pLimit from 'p-limit';
import type { RgbImage } from '../image/image.js';
import { settingsOf, type GenerateOptions, type Settings } from '../pipeline/options.js';
import type { Stopping } from '../pipeline/options/generation.js';
import { residualTolerance, shareOfResidual } from '../pipeline/samplers.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import { meanAbsoluteDifference } from '../tensor/operations.js';
import type { BenchmarkOptions } from './benchmark.js';
import { BENCHMARK_CASES, type BenchmarkCase } from './cases.js';
import { worstPatch } from './difference.js';
import { promptOf } from './prompts.js';

/** What to measure. The cases are samplers that stop by a tolerance of the image: not serial, and not paradigms. */
export interface TailOptions extends Omit<BenchmarkOptions, 'steps' | 'onProgress'> {
  readonly steps: number;
  /** Tolerances in grey levels. */
  readonly tolerances: readonly number[];
  /** Number of prompts whose serial images are also generated one at a time, for the noise floor. */
  readonly floor: number;
  /** Prompts at a time; they share batches. Default: one, or eight on devices with batch buckets. */
  readonly concurrency?: number | undefined;
  /** Called after each prompt. */
  readonly onProgress?: (finished: number) => void;
}

/** When a run stops. */
export interface TailRule {
  readonly stopping: Stopping;
  readonly tolerance: number;
}

/** One image where a rule would have stopped. */
export interface TailSample {
  readonly seed: number;
  readonly iteration: number;
  /** Evaluations on the critical path. */
  readonly critical: number;
  /** Mean absolute difference to the serial image, and that of the worst 8x8 patch, in grey levels. */
  readonly error: number;
  readonly patch: number;
  /** Of an image far away: the same difference of the serial image alone, which no sampler can do better than. */
  readonly floor?: number;
}

/** The samples of one sampler and one rule. */
export interface TailRun extends TailRule {
  readonly steps: number;
  readonly caseName: BenchmarkCase;
  /** Sampler that ran; `auto` chooses it. */
  readonly sampler: string;
  /** Evaluations of the serial sampler. */
  readonly serial: number;
  readonly samples: readonly TailSample[];
}

/** Results of a tail benchmark. */
export interface TailResult {
  readonly runs: readonly TailRun[];
  /** Differences of serial images alone to those of shared batches, of the first prompts. */
  readonly floor: readonly Pick<TailSample, 'seed' | 'error' | 'patch'>[];
}

const USUAL_CONCURRENCY = 8;
/** A tolerance that no iteration meets before the sample is exact; above 0, so that windows move as in other runs. */
const NEVER = 1e-12;
/** Grey levels beyond which the noise floor of an image is measured too. */
const FAR = 0.5;

/**
 * Measures where each stopping rule stops and how far the image is from the serial one there, for many prompts. Each sample is
 * generated once per sampler: the run goes on until every rule has stopped, as a run with that rule does. Where the signal aborts, the
 * results so far are returned.
 * @example
 * const options = { steps: 50, cases: ['srds'], prompts: 100, tolerances: [0.1], floor: 10, concurrency: 8 } as const;
 * const { runs } = await tail(pipeline, options);
 */
export async function tail(pipeline: Pipeline, options: TailOptions): Promise<TailResult> {
  const { steps, cases, prompts, tolerances, floor, concurrency, guidance, signal, onProgress } = options;
  const rules = (['look-ahead', 'change'] as const).flatMap((stopping) =>
    tolerances.map((tolerance): TailRule => ({ stopping, tolerance })),
  );
  const common = { steps, guidance, signal, previews: false };
  const fixed: FixedCase[] = [];
  for (const caseName of cases) fixed.push(await fixedCase(pipeline, caseName, common));
  const { roundsCoarsely } = pipeline;
  const limited = fixed.map(({ sampler, cfgScale }) =>
    rules.map((rule) => ({
      ...rule,
      limit: residualTolerance({ ...rule, sampler, cfgScale }, roundsCoarsely),
      share: shareOfResidual({ ...rule, sampler }),
    })),
  );
  // Cases with the same settings are run once.
  const keys = fixed.map(({ options: chosen }) => JSON.stringify(chosen));
  const samples = fixed.map(() => rules.map((): TailSample[] => []));
  const references = new Map<number, RgbImage>();
  let finished = 0;
  const one = async (seed: number): Promise<void> => {
    const given = { ...common, prompt: promptOf(seed), seed };
    const reference = await serialImage(pipeline, given);
    const found = new Map<number, Awaited<ReturnType<typeof stopsOf>>>();
    for (const [k, { options: chosen }] of fixed.entries()) {
      if (keys.indexOf(keys[k]) < k) continue;
      found.set(k, await stopsOf(pipeline, { ...given, ...chosen }, limited[k], reference));
    }
    // All cases or none, so that an interrupted run compares the same prompts.
    for (const [k, stops] of found) stops.forEach((stop, r) => samples[k][r].push({ seed, ...stop }));
    if (seed < floor || [...found.values()].flat().some(({ error }) => error > FAR)) references.set(seed, reference);
    onProgress?.(++finished);
  };
  // Where several clients fill the devices, samplers take their serial course.
  const limit = pLimit(concurrency ?? (pipeline.engine.buckets.length > 0 ? USUAL_CONCURRENCY : 1));
  const unlessStopped = async (work: () => Promise<void>) => {
    if (signal?.aborted) return;
    await work().catch((error: unknown) => {
      if (!signal?.aborted) throw error;
    });
  };
  await Promise.all(Array.from({ length: prompts }, (_, seed) => limit(() => unlessStopped(() => one(seed)))));

  const alone: { seed: number; error: number; patch: number }[] = [];
  for (const [seed, reference] of references) {
    await unlessStopped(async () => {
      const image = await serialImage(pipeline, { ...common, prompt: promptOf(seed), seed });
      alone.push({ seed, ...errorOf(image, reference) });
    });
  }
  const withFloor = (sample: TailSample): TailSample => {
    const own = sample.error > FAR ? alone.find(({ seed }) => seed === sample.seed) : undefined;
    return own ? { ...sample, floor: own.error } : sample;
  };
  const runs = fixed.flatMap(({ caseName, sampler, serial }, k) =>
    rules.map((rule, r) => ({
      ...rule,
      steps,
      caseName,
      sampler,
      serial,
      samples: samples[keys.indexOf(keys[k])][r].toSorted((a, b) => a.seed - b.seed).map(withFloor),
    })),
  );
  return { runs, floor: alone.filter(({ seed }) => seed < floor) };
}

/** A case with all choices made. */
interface FixedCase {
  readonly caseName: BenchmarkCase;
  readonly options: Partial<GenerateOptions>;
  readonly sampler: Settings['sampler'];
  readonly cfgScale: number;
  readonly serial: number;
}

/** The settings with which a case runs. `auto` chooses by the default tolerance, in a run of its own. */
async function fixedCase(
  pipeline: Pipeline,
  caseName: BenchmarkCase,
  common: Partial<GenerateOptions> & { readonly steps: number },
): Promise<FixedCase> {
  const given = { ...common, prompt: promptOf(0), ...BENCHMARK_CASES[caseName](common.steps, common.steps) };
  const settings =
    given.sampler === 'auto' ? (await pipeline.generate(given).result).settings : settingsOf(given, pipeline.model);
  const { sampler, cfgScale, partition, correction, pipelined, window } = settings;
  const options = sampler === 'srds' ? { sampler, blocks: partition, correction, pipelined } : { sampler, window };
  return { caseName, options, sampler, cfgScale, serial: settings.serialEvaluations };
}

async function serialImage(pipeline: Pipeline, options: GenerateOptions): Promise<RgbImage> {
  const { images } = await pipeline.generate({ ...options, sampler: 'serial' }).result;
  return finishedImage(images[0].rgb, options.signal);
}

/** Where each rule stops a run, and the error there. */
async function stopsOf(
  pipeline: Pipeline,
  options: GenerateOptions,
  rules: readonly (TailRule & { readonly limit: number; readonly share: number })[],
  reference: RgbImage,
): Promise<Omit<TailSample, 'seed'>[]> {
  const stops: (Omit<TailSample, 'seed'> | undefined)[] = rules.map(() => undefined);
  const run = pipeline.generate({ ...options, previews: true, stopping: 'look-ahead', tolerance: NEVER });
  let before: RgbImage | undefined;
  for await (const event of run) {
    if (event.type !== 'iteration' || !event.preview) continue;
    const { iteration, residual, reachesEnd, preview, evaluations } = event;
    const change = before && meanAbsoluteDifference(preview.data, before.data);
    before = preview;
    for (const [r, { stopping, limit, share }] of rules.entries()) {
      const value = stopping === 'change' ? change && change / share : residual;
      if (stops[r] || !reachesEnd || value === undefined || value >= limit) continue;
      stops[r] = { iteration, critical: evaluations.critical, ...errorOf(preview, reference) };
    }
    // Leaving the loop ends the run.
    const known = stops.filter((stop) => stop !== undefined);
    if (known.length === stops.length) return known;
  }
  const { images } = await run.result;
  const [{ rgb, iterations, evaluations }] = images;
  const end = {
    iteration: iterations,
    critical: evaluations.critical,
    ...errorOf(finishedImage(rgb, options.signal), reference),
  };
  return stops.map((stop) => stop ?? end);
}

function errorOf(image: RgbImage, reference: RgbImage): Pick<TailSample, 'error' | 'patch'> {
  return { error: meanAbsoluteDifference(image.data, reference.data), patch: worstPatch(image, reference) };
}

function finishedImage(image: RgbImage | undefined, signal: AbortSignal | undefined): RgbImage {
  signal?.throwIfAborted();
  if (!image) throw new Error('an image was not finished');
  return image;
}
