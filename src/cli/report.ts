import type { GeneratedImage, GenerateResult } from '../pipeline/pipeline.js';
import { infotext } from '../pipeline/parameters.js';
import type { Settings } from '../pipeline/options.js';
import { version } from './version.js';

/** What a report says beside the result. */
export interface ReportContext {
  readonly model: string;
  readonly device: string;
  /** File of each image; null where none was written. */
  readonly files: readonly (string | null)[];
  readonly totalSeconds: number;
}

/** The report that `--json` prints. */
export function jsonReport({ images, settings, seconds }: GenerateResult, context: ReportContext): object {
  const { prompt, negativePrompt, steps, guidance, sampler, correction, pipelined, partition, tolerance } = settings;
  const parallel = sampler === 'srds';
  return {
    version: version(),
    model: context.model,
    device: context.device,
    prompt,
    negativePrompt,
    seed: jsonInteger(settings.seeds[0]),
    steps,
    solver: 'ddim',
    guidance,
    sampler,
    correction: parallel ? correction : null,
    pipelined: parallel ? pipelined : null,
    blocks: parallel ? partition.length : null,
    tolerance: parallel ? tolerance : null,
    images: images.map(({ seed, status, iterations, residuals, evaluations, error }, i) => ({
      file: context.files[i],
      seed: jsonInteger(seed),
      status,
      iterations,
      residuals,
      evaluations,
      ...(error ? { error } : {}),
    })),
    seconds: { ...seconds, total: context.totalSeconds },
  };
}

/** JSON numbers lose digits beyond 2^53: larger ones are written as strings. */
function jsonInteger(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** The parameters of an image as Stable Diffusion web UIs read them from a PNG's `parameters` text. */
export function pngParameters(image: GeneratedImage, settings: Settings, model: string): string {
  const { prompt, negativePrompt, steps, guidance, width, height, sampler } = settings;
  const own =
    sampler === 'srds'
      ? ([
          ['SRDS correction', settings.correction],
          ['SRDS pipelined', settings.pipelined],
          ['SRDS blocks', settings.partition.join(' ')],
          ['SRDS tolerance', settings.tolerance],
          ['SRDS status', image.status],
          ['SRDS iterations', image.iterations],
        ] as const)
      : [];
  return infotext(prompt, negativePrompt, [
    ['Steps', steps],
    ['Sampler', 'DDIM'],
    ['CFG scale', guidance],
    ['Seed', String(image.seed)],
    ['Size', `${width}x${height}`],
    ['Model', model],
    ['Parallel sampler', sampler],
    ...own,
    ['Version', `srds ${version()}`],
  ]);
}

/** How an image was reached, in words. */
export function summary({ status, iterations, evaluations }: GeneratedImage): string {
  const { critical, total, serial } = evaluations;
  const spent = `${critical} sequential evaluations instead of ${serial} (${total} in all)`;
  const count = `${iterations} ${iterations === 1 ? 'iteration' : 'iterations'}`;
  switch (status) {
    case 'exact':
      return iterations === 0
        ? `serial, ${serial} sequential evaluations`
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
