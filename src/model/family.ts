import { z } from 'zod';
import type { Conditioning, EncodedText } from './conditioning.js';
import type { DenoiserName, TextEncoderName } from './graphNames.js';
import type { LatentLayout } from './latentLayout.js';
import type { SchedulerFile } from './scheduler.js';

/** A component of a pipeline as model_index.json lists it: its library and class, or null twice where it is absent. */
const component = z.tuple([z.string().nullable(), z.string().nullable()]).nullish();

/** The file that names the pipeline. */
export const INDEX_FILE = 'model_index.json';

/** The fields of model_index.json that families read. */
export const modelIndex = z.object({
  _class_name: z.string(),
  _name_or_path: z.string().nullish(),
  force_zeros_for_empty_prompt: z.boolean().default(true),
  requires_aesthetics_score: z.boolean().nullish(),
  /** Library and class of the scheduler. */
  scheduler: z.tuple([z.string(), z.string()]).optional().catch(undefined),
  text_encoder_3: component,
});
/** Content of a model_index.json. */
export type ModelIndex = z.output<typeof modelIndex>;

/** Width and height of an image, in pixels. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** Kinds of text encoders, as people call them. */
export const ENCODER_TITLES = { clip: 'CLIP', t5: 'T5' } as const;
export type EncoderKind = keyof typeof ENCODER_TITLES;

/** A text encoder of a family. */
export interface TextEncoderPart {
  readonly graph: TextEncoderName;
  /** Subfolder of its tokenizer. */
  readonly tokenizer: string;
  readonly kind: EncoderKind;
  /** Whether a folder lacks it; default: none does. */
  readonly isAbsent?: (index: ModelIndex) => boolean;
}

/** Feature maps or token states of one resolution of a network, for the estimate of its memory. */
export interface Level {
  /** Positions of a feature map, or number of tokens. */
  readonly positions: number;
  readonly channels: number;
  /** Heads of its attentions; 0 without any. */
  readonly heads: number;
}

/** What a family reads from the config.json of its denoising network. */
export interface NetworkFacts {
  /** Channels of the VAE's latents. */
  readonly latentChannels: number;
  /** Default height and width of an image, in latents. */
  readonly sampleSize: readonly [height: number, width: number];
  /** Both sides of the latents must be multiples of this. */
  readonly latentStep: number;
  /** Largest side of the latents; undefined if the network has no limit of its own. */
  readonly maxLatents?: number | undefined;
  /** Names of the graph's inputs. */
  readonly inputs: readonly string[];
  /** Whether the guidance scale is an input. */
  readonly embedsGuidance: boolean;
  /** Width of the text encoders' states that the network takes; undefined if it is that of the states themselves. */
  readonly textWidth?: number | undefined;
  /** Whether a CPU needs batches with an even number of rows, so that the result for a row is the same in each. */
  readonly evenRows: boolean;
  /** Its resolutions. @param latents height times width of the latents */
  readonly levels: (latents: number) => readonly Level[];
}

/** A prompt by each text encoder of a family, in order; undefined where the folder lacks one. */
export type EncodedPrompt = readonly (EncodedText | undefined)[];

/** What a prompt's conditioning depends on, beside the prompt. */
export interface ConditioningContext {
  readonly network: NetworkFacts;
  readonly size: ImageSize;
  /** Shape of the image's latents. */
  readonly latents: readonly number[];
  /** Number of tokens of T5; undefined for families without it. */
  readonly sequenceLength?: number | undefined;
  /** Guidance scale of a network that takes it as an input. */
  readonly guidance: number;
}

/** A number of tokens of T5. */
export interface SequenceLength {
  /** Default 1; where the graphs fix the number, all three are that. */
  readonly min?: number;
  readonly default: number;
  readonly max: number;
}

/** What generations with a model start from where no option says otherwise; undefined: as every other model. */
export interface ModelDefaults {
  readonly steps?: number;
  readonly guidance?: number;
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
  /** Text encoders, in the order in which the conditioning uses them. */
  readonly textEncoders: readonly TextEncoderPart[];
  /** The denoising network. */
  readonly network: DenoiserName;
  /** The content of its config.json. */
  readonly networkConfig: z.ZodType<NetworkFacts>;
  /** Its input of the noisy sample. */
  readonly sampleInput: string;
  /** Its inputs of two axes that lack that of the batch in most exports; default: none. */
  readonly constants?: readonly string[];
  /** Its timestep for a timestep of the grid. */
  readonly networkTime: (t: number) => number;
  /** How latents become its sample. */
  readonly layout: LatentLayout;
  /** Reads the scheduler of a folder. @throws SrdsError MODEL_INVALID */
  readonly readScheduler: (folder: string, index: ModelIndex) => Promise<SchedulerFile>;
  /** Mean absolute change of an image, in grey levels, for a small change of its latents of root mean square 1. */
  readonly greyLevels: number;
  /** Whether the pipeline normalizes latents by latents_mean and latents_std of the VAE's configuration; default: no. */
  readonly latentStatistics?: boolean;
  /** Whether the pipeline decodes in float32 unless the VAE's configuration has `force_upcast: false`; default: no. */
  readonly upcastsVae?: boolean;
  /** Why a model is not supported, from its model_index.json; undefined if it is. */
  readonly unsupported?: (index: ModelIndex) => string | undefined;
  /**
   * Names of the outputs to use.
   * @param outputs names of the graph's outputs
   */
  readonly textOutputs: (
    graph: TextEncoderName,
    outputs: readonly string[],
  ) => { readonly hidden?: string; readonly pooled?: string };
  /** The network's conditioning for a prompt. */
  readonly condition: (encoded: EncodedPrompt, context: ConditioningContext) => Conditioning;
  /**
   * The option that is the scale of classifier-free guidance, which is used above 1. `trueGuidance` takes effect with a negative prompt
   * only.
   */
  readonly guidanceOption: 'guidance' | 'trueGuidance';
  /** Index of the first step that image to image takes. @param strength share of the steps */
  readonly firstStep: (steps: number, strength: number) => number;
  /** Whether a missing negative prompt means `zeroed` conditioning instead of an empty prompt. */
  readonly zerosForNoNegative: (index: ModelIndex) => boolean;
  /** The zero conditioning that goes with that of a prompt. */
  readonly zeroed: (conditional: Conditioning) => Conditioning;
  readonly defaults?: (model: DescribedModel) => ModelDefaults;
  /** Tokens of T5; undefined for families without it. */
  readonly sequenceLength?: (model: DescribedModel) => SequenceLength;
  /** Rows of the network's text states that CLIP gives, beside those of T5; default 0. */
  readonly clipRows?: number;
  /** What shows that a model was distilled to be sampled in a few steps; undefined if nothing does. */
  readonly fewSteps?: (model: DescribedModel) => string | undefined;
}

/** What is known of a model folder when its family describes it. */
export interface DescribedModel {
  /** Name of the folder or of the repository. */
  readonly name: string;
  readonly index: ModelIndex;
  readonly network: NetworkFacts;
  readonly scheduler: SchedulerFile;
}
