import type { EvaluationCount, EvaluationEvent, Status } from '../run/events.js';
import type { RgbImage } from '../image/image.js';
import type { TimestepBatching } from '../model/networks.js';
import type { Settings } from './options.js';
import type { Choice } from './selectSampler.js';

/** Evaluations of a sample beside those that the serial sampler takes. */
export interface ImageEvaluations extends EvaluationCount {
  readonly serial: number;
}

/** One image, and how it was reached. */
export interface GeneratedImage {
  readonly seed: bigint;
  readonly status: Status;
  readonly iterations: number;
  /** Mean absolute change of the 8-bit image in each iteration, in grey levels. */
  readonly residuals: readonly number[];
  readonly evaluations: ImageEvaluations;
  /** [4, height / factor, width / factor], as the sampler ended with. */
  readonly latents: Float32Array;
  /** Of an aborted image the last preview; undefined if there was none. */
  readonly rgb: RgbImage | undefined;
  /** Absolute difference to the serial sample in grey levels, if it was asked for. */
  readonly error?: { readonly mean: number; readonly max: number };
}

/**
 * How long each part took, in seconds of wall clock. Encoding of an initial image and decoding for the stopping test
 * belong to `sample`.
 */
export interface Seconds {
  readonly load: number;
  readonly encode: number;
  readonly sample: number;
  readonly decode: number;
}

/** What `generate` returns. */
export interface GenerateResult {
  readonly images: readonly GeneratedImage[];
  readonly settings: Settings;
  readonly seconds: Seconds;
  /** Why the sampler was chosen, and what was expected of it, if that was left to the planner. */
  readonly choice: Choice | undefined;
  /** How the network takes its timesteps; undefined if the run was aborted before the network was ready. */
  readonly timesteps: TimestepBatching | undefined;
  /** Batches of the network that ran meanwhile, those of other runs on the pipeline included. */
  readonly batches: number;
}

/** What happens while images are drawn. `image` is the index of the image, from 0. */
export type GenerateEvent =
  | { readonly type: 'warning'; readonly message: string }
  /** A batch that evaluated something for this run has come back; times are milliseconds on the clock of `performance.now`. */
  | {
      readonly type: 'batch';
      readonly device: string;
      readonly begin: number;
      readonly end: number;
      /** Rows of the whole batch, those that fill up its bucket and those of other runs included. */
      readonly rows: number;
      /** Those of this run, each as iteration, block, step, stage, image. */
      readonly evaluations: readonly (readonly number[])[];
    }
  | (EvaluationEvent & { readonly image: number; readonly evaluations: ImageEvaluations })
  | {
      readonly type: 'iteration';
      readonly image: number;
      readonly seed: bigint;
      readonly iteration: number;
      readonly residual: number | undefined;
      readonly evaluations: ImageEvaluations;
      /** The image so far, unless `previews` is false. */
      readonly preview: RgbImage | undefined;
    }
  | { readonly type: 'image'; readonly image: number; readonly result: GeneratedImage };
