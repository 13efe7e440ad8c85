import type { GraphDescription } from '../onnx/describe.js';
import type { Schedule } from '../schedule/schedule.js';
import type { GraphName } from './graphNames.js';
import { imageTokens, textGraphs, type ModelFolder } from './modelFolder.js';
import { timestepBatching, type TimestepBatching } from './networks.js';

/** Contents of a model folder. */
export interface Inspection {
  readonly model: ModelFolder;
  /** The noise schedule, as the default solver reads it; that of a flow for the model's size. */
  readonly schedule: Schedule;
  readonly graphs: readonly (GraphDescription & { readonly name: GraphName; readonly path: string })[];
  readonly timesteps: TimestepBatching;
  /** Most bytes of float32 weights in memory at a time. An initial image adds those of the VAE encoder. */
  readonly weights: {
    readonly all: number;
    readonly lowMemory: number;
    readonly vaeEncoder: number;
    /** Those of the denoising network, which `all` contains. */
    readonly network: number;
  };
}

/**
 * Describes a model folder and its graphs without loading it into an engine.
 * @example
 * const inspection = inspectModel(await openModel('path/to/folder'));
 */
export function inspectModel(model: ModelFolder): Inspection {
  const graphs = model.described.map(({ name, file: { path }, description }) => ({ name, path, ...description }));
  // A CPU widens float16 weights to float32.
  const bytes = (...names: readonly GraphName[]) =>
    graphs.filter(({ name }) => names.includes(name)).reduce((sum, { parameters }) => sum + 4 * parameters, 0);
  const denoiser = graphs.find(({ name }) => name === model.family.network);
  const text = bytes(...textGraphs(model));
  const network = bytes(model.family.network);
  const sampling = network + bytes('vae_decoder');
  return {
    model,
    schedule: model.scheduler.scheduleFor(model.scheduler.solver ?? 'ddim', { tokens: imageTokens(model, model.size) }),
    graphs,
    timesteps: timestepBatching(denoiser?.perBatch ?? false, denoiser?.rewrite),
    weights: { all: text + sampling, lowMemory: Math.max(text, sampling), vaeEncoder: bytes('vae_encoder'), network },
  };
}
