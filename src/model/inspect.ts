import type { GraphDescription } from '../onnx/describe.js';
import type { ScheduleConfig } from '../schedule/config.js';
import type { GraphName } from './graphNames.js';
import type { ModelFolder } from './modelFolder.js';
import { timestepBatching, type TimestepBatching } from './networks.js';

/** Contents of a model folder. */
export interface Inspection {
  readonly model: ModelFolder;
  /** The noise schedule, as the default solver reads it. */
  readonly schedule: ScheduleConfig;
  readonly graphs: readonly (GraphDescription & { readonly name: GraphName; readonly path: string })[];
  readonly timesteps: TimestepBatching;
  /** Most bytes of float32 weights in memory at a time. An initial image adds those of the VAE encoder. */
  readonly weights: { readonly all: number; readonly lowMemory: number; readonly vaeEncoder: number };
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
  const text = bytes(...model.textEncoders.map(({ graph }) => graph));
  const sampling = bytes('unet', 'vae_decoder');
  const unet = graphs.find(({ name }) => name === 'unet');
  return {
    model,
    schedule: model.scheduler.scheduleFor(model.scheduler.solver ?? 'ddim'),
    graphs,
    timesteps: timestepBatching(unet?.perBatch ?? false, unet?.rewrite),
    weights: { all: text + sampling, lowMemory: Math.max(text, sampling), vaeEncoder: bytes('vae_encoder') },
  };
}
