import type { Batcher, Client } from '../engine/batcher.js';
import type { ConditioningId } from '../engine/engine.js';
import type { Bound, PredictionType } from '../schedule/config.js';
import { float32 } from '../tensor/tensor.js';
import type { Denoiser } from '../run/denoiser.js';
import { guide, rescaleGuidance } from './guidance.js';
import { bounded, toPrediction } from '../solver/prediction.js';

/** A network in an engine, and what turns its output into a prediction. */
export interface NetworkDenoiserOptions {
  readonly batcher: Batcher;
  /** Name of the network's graph and of its output. */
  readonly graph: string;
  readonly output: string;
  /** Shape of a sample, [channels, height, width]. */
  readonly dims: readonly number[];
  readonly predictionType: PredictionType;
  /** How the predicted sample is kept in bounds; default: not at all. */
  readonly bound?: Bound | undefined;
  /** Registered inputs of the prompt and, for guidance, of the negative prompt. */
  readonly conditional: ConditioningId;
  readonly unconditional?: ConditioningId | undefined;
  /** Guidance scale; not used without `unconditional`. */
  readonly guidance: number;
  /** 0 to 1: how far guidance is brought back to the prediction's own deviation; default 0. */
  readonly guidanceRescale?: number;
  /** Put behind each request's own priority: which image goes first among equals. */
  readonly priority: readonly number[];
  /** Shares its turn with other clients. */
  readonly client: Client;
  /** Rows of the largest batch that pays; default: as many as the engine takes. */
  readonly maxRows?: number | undefined;
  /** Rows that the client takes of a batch at most; default: all. */
  readonly maxClientRows?: number | undefined;
  /** Rows that a batch is filled up to before any go to another free device; default: they are spread. */
  readonly minRows?: number | undefined;
}

/** A denoiser over a network in an engine. With guidance an evaluation is two rows. */
export function networkDenoiser(options: NetworkDenoiserOptions): Denoiser {
  const { batcher, graph, output, dims, unconditional, conditional } = options;
  const conditioning = unconditional === undefined ? [conditional] : [unconditional, conditional];
  const { client, maxRows, maxClientRows, minRows, guidanceRescale: rescale = 0 } = options;
  // Rescaling needs the conditional row too.
  const combine = unconditional === undefined || rescale > 0 ? undefined : options.guidance;
  return async ({ x, level, signal, speculative = false, ...request }) => {
    const inputs = { sample: float32(x, dims), timestep: float32(Float32Array.of(level.t), []) };
    const priority = [...request.priority, ...options.priority];
    const evaluation = { graph, output, inputs, conditioning, combine };
    const requestOptions = { priority, client, speculative, maxRows, maxClientRows, minRows, signal };
    const rows = await batcher.evaluate(evaluation, requestOptions);
    const guided =
      rows.length === 1 ? rows[0] : rescaleGuidance(guide(rows[0], rows[1], options.guidance), rows[1], rescale);
    return bounded(toPrediction(options.predictionType, x, guided, level.alphaBar), options.bound);
  };
}
