import type { EvaluationCount, EvaluationEvent, Status } from '../run/events.js';
import type { RgbImage } from '../image/image.js';
import type { TimestepBatching } from '../model/networks.js';
import type { Settings } from './options.js';
import type { Choice } from './selectSampler.js';

/** Evaluations of a sample, and those of the serial sampler for comparison. */
export interface ImageEvaluations extends EvaluationCount {
  readonly serial: number;
}

/** One image, with its status and cost. */
export interface GeneratedImage {
  readonly seed: bigint;
  readonly status: Status;
  readonly iterations: number;
  /** What each iteration's change was compared with the tolerance, in grey levels: by `stopping`, the predicted next change or the last one. */
  readonly residuals: readonly number[];
  readonly evaluations: ImageEvaluations;
  /** Final latents, [channels, height / factor, width / factor]. */
  readonly latents: Float32Array;
  /** The image; for an aborted one the last preview, or undefined if there was none. */
  readonly rgb: RgbImage | undefined;
  /** Absolute difference to the serial image in grey levels, with the option `compare`. */
  readonly error?: { readonly mean: number; readonly max: number };
}

/** Wall clock of each part, in seconds. Encoding an initial image and decoding for the stopping test belong to `sample`. */
export interface Seconds {
  readonly load: number;
  readonly encode: number;
  /** Measuring the devices and choosing the sampler. */
  readonly plan: number;
  readonly sample: number;
  readonly decode: number;
}

/** Result of `Pipeline.generate`. */
export interface GenerateResult {
  readonly images: readonly GeneratedImage[];
  readonly settings: Settings;
  readonly seconds: Seconds;
  /** The planner's choice of the sampler, its reason and its forecast; undefined if the sampler was given. */
  readonly choice: Choice | undefined;
  /** How the network takes its timesteps; undefined if the run was aborted before the network was ready. */
  readonly timesteps: TimestepBatching | undefined;
  /**
   * Seconds of sampling that the serial sampler would take, one image after the other. They rest on the batches of this run that held
   * one evaluation, or else on what is known of the devices; undefined where neither says anything.
   */
  readonly serialSeconds: number | undefined;
  /** Batches of the network during the run, including those of other runs on the pipeline. */
  readonly batches: number;
}

/** What `auto` would do, without doing it. */
export interface GenerateForecast {
  readonly sampler: Settings['sampler'];
  /** Why that sampler, in words. */
  readonly reason: string | undefined;
  /** Seconds of sampling. */
  readonly seconds: number;
  /** The same with the serial sampler. */
  readonly serialSeconds: number;
}

/**
 * Parts of a run: graphs are loaded and prompts encoded, the devices measured if necessary, the sampler chosen, images sampled, the
 * sample of an image decoded.
 */
export type Phase = 'preparing' | 'measuring' | 'planning' | 'sampling' | 'decoding';

/** Events of a generation. `image` is the index of the image, from 0. */
export type GenerateEvent =
  /** The run has begun another part of its work. */
  | {
      readonly type: 'phase';
      readonly phase: Phase;
      /** Evaluations that an image is expected to take, at the start of sampling, where a forecast was made. */
      readonly expected?: EvaluationCount | undefined;
    }
  | { readonly type: 'warning'; readonly message: string }
  /** The sampler is known. */
  | {
      readonly type: 'plan';
      readonly sampler: Settings['sampler'];
      /** Undefined if the sampler was given. */
      readonly choice: Choice | undefined;
      /** Evaluations of the serial sampler for an image. */
      readonly serialEvaluations: number;
    }
  /** A batch with evaluations of this run has finished; times are milliseconds on the clock of `performance.now`. */
  | {
      readonly type: 'batch';
      readonly device: string;
      readonly begin: number;
      readonly end: number;
      /** Rows of the whole batch, including padding and rows of other runs. */
      readonly rows: number;
      /** Evaluations of this run, each as iteration, block, step, stage, image. */
      readonly evaluations: readonly (readonly number[])[];
    }
  | (EvaluationEvent & { readonly image: number; readonly evaluations: ImageEvaluations })
  | {
      readonly type: 'iteration';
      readonly image: number;
      readonly seed: bigint;
      readonly iteration: number;
      readonly residual: number | undefined;
      /** Whether the iteration updated the whole trajectory, so that a small residual means convergence. */
      readonly reachesEnd: boolean;
      readonly evaluations: ImageEvaluations;
      /** The image so far, unless `previews` is false. */
      readonly preview: RgbImage | undefined;
    }
  | { readonly type: 'image'; readonly image: number; readonly result: GeneratedImage };
