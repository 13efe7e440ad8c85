import type { Choice } from '../pipeline/selectSampler.js';
import type { GeneratedImage, GenerateResult } from '../pipeline/result.js';
import { GENERATION_OPTIONS } from '../pipeline/options/generation.js';
import type { Settings } from '../pipeline/options.js';
import { plural } from '../errors.js';
import { version } from '../version.js';

/** Content of a report that is not in the result. */
export interface ReportContext {
  readonly model: string;
  readonly device: string;
  /** File of each image; null if it was not written. */
  readonly files: readonly (string | null)[];
  readonly totalSeconds: number;
}

/** The report of `srds generate --json`. */
export function jsonReport(result: GenerateResult, context: ReportContext): object {
  const { images, settings, seconds, timesteps, choice, serialSeconds, batches } = result;
  const { prompt, negativePrompt, steps, guidance, sampler, correction, pipelined, partition, tolerance, stopping } =
    settings;
  const { solver } = settings;
  const srds = sampler === 'srds';
  return {
    version: version(),
    model: context.model,
    device: context.device,
    prompt,
    negativePrompt,
    seed: jsonInteger(settings.seeds[0]),
    steps,
    solver,
    guidance,
    sampler,
    ...(choice && { choice: choiceReport(choice) }),
    correction: srds ? correction : null,
    pipelined: srds ? pipelined : null,
    blocks: srds ? partition.length : null,
    tolerance: sampler === 'serial' ? null : tolerance,
    // paradigms stops by its window.
    stopping: sampler === 'serial' || sampler === 'paradigms' ? null : stopping,
    images: images.map(({ seed, status, iterations, residuals, evaluations, error }, i) => ({
      file: context.files[i],
      seed: jsonInteger(seed),
      status,
      iterations,
      residuals,
      evaluations,
      ...(error ? { error } : {}),
    })),
    ...optionalSettings(settings),
    ...(timesteps?.kind === 'shared' ? { network: { timesteps: timesteps.kind, why: timesteps.why, batches } } : {}),
    seconds: { ...seconds, total: context.totalSeconds },
    serialSeconds: serialSeconds ?? null,
  };
}

function choiceReport({ reason, basis, chosen }: Choice): object {
  if (!chosen) return { reason };
  return { reason, basis, predictedSeconds: chosen.seconds, predictedSpeedUp: chosen.speedUp };
}

/** The planner's choice, in words. */
export function choiceText(sampler: string, { reason, basis }: Choice): string {
  return `${sampler} was chosen: ${reason}${basis === undefined ? '' : `; the forecast rests on ${basis}`}`;
}

/** The time that a run took, compared with the estimate of the serial sampler's, one image after the other, in words. */
export function timeText({ images, settings, seconds, serialSeconds }: GenerateResult, totalSeconds: number): string {
  const sampling = `${secondsText(totalSeconds)}, ${secondsText(seconds.sample)} of them for sampling`;
  const isDone = images.every(({ status }) => status !== 'aborted');
  const isAlone = images.length === 1;
  if (serialSeconds === undefined || (settings.sampler === 'serial' && isAlone) || !isDone) return sampling;
  const ratio = serialSeconds / seconds.sample;
  const [factor, what] = ratio >= 1 ? [ratio, 'fast'] : [1 / ratio, 'long'];
  const serial = `the serial sampler${isAlone ? '' : ' one image after the other'}, which would take about ${secondsText(serialSeconds)}`;
  return `${sampling}: ${factor.toFixed(1)} times as ${what} as ${serial}`;
}

function secondsText(seconds: number): string {
  return `${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s`;
}

/** Settings that appear in a report only if they are in use. */
function optionalSettings(settings: Settings): object {
  const { trueGuidance, prompt2, prompt3, sequenceLength, eta, guidanceRescale, strength, given } = settings;
  const { window, history, order } = settings;
  return {
    ...(trueGuidance !== GENERATION_OPTIONS.trueGuidance.default && { trueGuidance }),
    ...(prompt2 !== undefined && { prompt2 }),
    ...(prompt3 !== undefined && { prompt3 }),
    ...(sequenceLength !== undefined && { maxSequenceLength: sequenceLength }),
    ...(window !== undefined && { window }),
    ...(history !== undefined && { history }),
    ...(order !== undefined && { order }),
    ...(given.spacing && { spacing: given.spacing }),
    ...(given.prediction && { prediction: given.prediction }),
    ...(given.scheduleType && { scheduleType: given.scheduleType }),
    ...(eta > 0 && { eta }),
    ...(guidanceRescale > 0 && { guidanceRescale }),
    ...(strength !== undefined && { strength }),
  };
}

/** JSON numbers lose digits beyond 2^53, so larger integers become strings. */
function jsonInteger(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** Status, iterations and evaluations of an image, in words. @param sampler that generated it */
export function summary({ status, iterations, evaluations }: GeneratedImage, sampler: string): string {
  const { critical, total, serial } = evaluations;
  const spent = `${plural(critical, 'sequential evaluation')} instead of ${serial} (${total} in all)`;
  const count = plural(iterations, 'iteration');
  switch (status) {
    case 'exact':
      return sampler === 'serial'
        ? `serial, ${plural(serial, 'sequential evaluation')}`
        : `the serial sample exactly, after ${count}, ${spent}`;
    case 'converged':
      return `converged after ${count}, ${spent}`;
    case 'maxIterations':
      return `stopped after ${count}, not converged, ${spent}`;
    case 'aborted':
      return `aborted after ${count}`;
  }
}

/** The difference to the serial sample, in words. */
export function differenceToSerial({ mean, max }: NonNullable<GeneratedImage['error']>): string {
  return `${mean.toFixed(3)} grey levels from the serial image on average, ${max} at most`;
}
