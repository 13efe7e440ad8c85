import type { Batcher, Client } from '../engine/batcher.js';
import type { ConditioningId, Evaluation } from '../engine/engine.js';
import { SrdsError } from '../errors.js';
import type { Denoiser } from '../run/denoiser.js';
import type { Bound, PredictionType } from '../schedule/config.js';
import { networkSample } from '../solver/flow.js';
import { bounded, toPrediction, type Prediction } from '../solver/prediction.js';
import { float32 } from '../tensor/tensor.js';
import { guide, rescaleGuidance } from './guidance.js';
import { GuidedPrediction } from './guidedPrediction.js';

/** A network in an engine, and how its output becomes a prediction. */
export interface NetworkDenoiserOptions {
  readonly batcher: Batcher;
  /** Name of the network's graph and of its output. */
  readonly graph: string;
  readonly output: string;
  /** Shape of a sample, such as [channels, height, width]. */
  readonly dims: readonly number[];
  /** Name of the input of the noisy sample; default `sample`. */
  readonly sampleInput?: string;
  /** The network's timestep for a timestep of the grid; default: the same. */
  readonly networkTime?: (t: number) => number;
  /** Evaluations of other groups do not share a batch: their registered inputs differ in shape, or in those without a batch axis. */
  readonly group?: string | undefined;
  readonly predictionType: PredictionType;
  /** Limits the predicted sample; default: no limit. */
  readonly bound?: Bound | undefined;
  /** Registered inputs of the prompt and, for guidance, of the negative prompt. */
  readonly conditional: ConditioningId;
  readonly unconditional?: ConditioningId | undefined;
  /** Guidance scale; not used without `unconditional`. */
  readonly guidance: number;
  /** 0 to 1: how far guidance is rescaled to the standard deviation of the conditional output; default 0. */
  readonly guidanceRescale?: number;
  /** Appended to the priority of each request: the order of images among equal requests. */
  readonly priority: readonly number[];
  /** The batcher shares the engine fairly among clients. */
  readonly client: Client;
  /** Rows of the largest batch; default: the maximum of the engine. */
  readonly maxRows?: number | undefined;
  /** Maximum rows of the client in one batch; default: all. */
  readonly maxClientRows?: number | undefined;
  /** Rows to fill a batch with before another free device gets a share; default: rows are spread evenly. */
  readonly minRows?: number | undefined;
  /** Whether the rows of an evaluation are requests of their own, so that devices share them; default: they stay together. */
  readonly splitsRows?: boolean | undefined;
}

/**
 * A denoiser that evaluates a network in an engine. With guidance an evaluation has two rows.
 * @example
 * const batcher = new Batcher(engine);
 * const conditional = engine.register({ encoder_hidden_states: embedding });
 * const denoiser = networkDenoiser({
 *   batcher,
 *   graph: 'unet',
 *   output: 'out_sample',
 *   dims: [4, 32, 32],
 *   predictionType: 'epsilon',
 *   conditional,
 *   guidance: 1,
 *   priority: [0],
 *   client: {},
 * });
 */
export function networkDenoiser(options: NetworkDenoiserOptions): Denoiser {
  const { batcher, graph, output, group, predictionType, unconditional, conditional } = options;
  const conditioning = unconditional === undefined ? [conditional] : [unconditional, conditional];
  const { client, maxRows, maxClientRows, minRows, splitsRows = false } = options;
  return async ({ x, level, signal, speculative = false, ...request }) => {
    const inputs = networkInputs(options, networkSample(predictionType, x, level), level.t);
    const priority = [...request.priority, ...options.priority];
    const requestOptions = { priority, client, speculative, maxRows, maxClientRows, minRows, signal };
    const evaluate = (ids: readonly ConditioningId[]) =>
      batcher.evaluate({ graph, output, inputs, conditioning: ids, group }, requestOptions);
    // Where memory suffices for one row at a time, the rows of an evaluation are evaluations of their own.
    const isSplit = splitsRows || (maxRows !== undefined && maxRows < conditioning.length);
    const rows = isSplit
      ? (await Promise.all(conditioning.map((id) => evaluate([id])))).flat()
      : await evaluate(conditioning);
    for (const { length } of rows) if (length !== x.length) throw wrongSize(graph, length, x.length);
    return bounded(predictionOf(options, x, rows, level.alphaBar), options.bound);
  };
}

/** The inputs of an evaluation that are not registered. @param sample the network's noisy sample, of shape `dims` */
export function networkInputs(
  {
    dims,
    sampleInput = 'sample',
    networkTime = (t) => t,
  }: Pick<NetworkDenoiserOptions, 'dims' | 'sampleInput' | 'networkTime'>,
  sample: Float32Array,
  t: number,
): Evaluation['inputs'] {
  return { [sampleInput]: float32(sample, dims), timestep: float32(Float32Array.of(networkTime(t)), []) };
}

/**
 * The network's output rows as a prediction.
 * @param rows the output without guidance, or the unconditional and the conditional output
 */
function predictionOf(
  { predictionType, unconditional, guidance, guidanceRescale = 0 }: NetworkDenoiserOptions,
  x: Float32Array,
  rows: readonly Float32Array[],
  alphaBar: number,
): Prediction {
  if (unconditional === undefined) return toPrediction(predictionType, x, rows[0], alphaBar);
  if (guidanceRescale === 0) return new GuidedPrediction(predictionType, x, rows[0], rows[1], guidance, alphaBar);
  const guided = rescaleGuidance(guide(rows[0], rows[1], guidance), rows[1], guidanceRescale);
  return toPrediction(predictionType, x, guided, alphaBar);
}

function wrongSize(graph: string, found: number, expected: number): SrdsError {
  const remedy = 'choose the size that it was exported for, or export the model again';
  return new SrdsError(
    'MODEL_INVALID',
    `${expected} values from ${graph}, as many as it was given`,
    `${found}`,
    remedy,
  );
}
