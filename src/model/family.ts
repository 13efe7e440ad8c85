import { z } from 'zod';
import type { Conditioning, EncodedText } from './conditioning.js';
import type { TextEncoderName } from './graphNames.js';

/** The fields of model_index.json that families read. */
export const modelIndex = z.object({
  _class_name: z.string(),
  force_zeros_for_empty_prompt: z.boolean().default(true),
  requires_aesthetics_score: z.boolean().nullish(),
  /** Library and class of the scheduler. */
  scheduler: z.tuple([z.string(), z.string()]).optional().catch(undefined),
});
/** Content of a model_index.json. */
export type ModelIndex = z.output<typeof modelIndex>;

/** Width and height of an image, in pixels. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/**
 * What one family of diffusers pipelines does in its own way: which parts its folder has, what its graphs take and return,
 * and how a prompt becomes conditioning. A new family is one file with such an object, and its entry in families.ts.
 */
export interface ModelFamily {
  /** Identifier in reports. */
  readonly id: string;
  /** Description for people. */
  readonly title: string;
  /** Pipeline classes of diffusers that use such a folder, without the prefix of a runtime. The first names the family. */
  readonly pipelines: readonly [string, ...string[]];
  /** Text encoders, in the order in which the conditioning uses them, with the subfolders of their tokenizers. */
  readonly textEncoders: readonly { readonly graph: TextEncoderName; readonly tokenizer: string }[];
  /** Fields of scheduler_config.json that the pipeline overrides. */
  readonly forcedScheduler: Readonly<Record<string, unknown>>;
  /** Inputs of the UNet. */
  readonly unetInputs: readonly string[];
  /** Mean absolute change of an image, in grey levels, for a small change of its latents of root mean square 1. */
  readonly greyLevels: number;
  /** Whether the pipeline normalizes latents by latents_mean and latents_std of the VAE's configuration. */
  readonly latentStatistics: boolean;
  /** Why a model is not supported, from its model_index.json; undefined if it is. */
  readonly unsupported: (index: ModelIndex) => string | undefined;
  /**
   * Names of the outputs to use.
   * @param outputs names of the graph's outputs
   */
  readonly textOutputs: (
    graph: TextEncoderName,
    outputs: readonly string[],
  ) => { readonly hidden: string; readonly pooled?: string };
  /**
   * The UNet's conditioning for a prompt.
   * @param encoded the prompt by each text encoder, in the order of `textEncoders`
   */
  readonly condition: (encoded: readonly EncodedText[], size: ImageSize) => Conditioning;
  /** Whether a missing negative prompt means `zeroed` conditioning instead of an empty prompt. */
  readonly zerosForNoNegative: (index: ModelIndex) => boolean;
  /** The zero conditioning that goes with that of a prompt. */
  readonly zeroed: (conditional: Conditioning) => Conditioning;
}
