import { brokenGraph } from '../onnx/brokenGraph.js';
import { describeGraph, type GraphDescription } from '../onnx/describe.js';
import { isShared } from '../onnx/graphInfo.js';
import { messageOf } from '../errors.js';
import type { Schedule } from '../schedule/schedule.js';
import type { GraphName } from './graphNames.js';
import { graphFiles, imageTokens, textGraphs, type ModelFolder } from './modelFolder.js';
import { timestepBatching, type TimestepBatching } from './networks.js';

/** Contents of a model folder. */
export interface Inspection {
  readonly model: ModelFolder;
  /** The noise schedule, as the default solver reads it; that of a flow for the model's size. */
  readonly schedule: Schedule;
  readonly graphs: readonly (GraphDescription & { readonly name: GraphName; readonly path: string })[];
  readonly timesteps: TimestepBatching;
  /** Most bytes of float32 weights in memory at a time. An initial image adds those of the VAE encoder. */
  readonly weights: { readonly all: number; readonly lowMemory: number; readonly vaeEncoder: number };
}

/**
 * Describes a model folder and its graphs without loading it into an engine.
 * @throws SrdsError MODEL_INVALID if a graph is unreadable
 * @example
 * const inspection = await inspectModel(await openModel('path/to/folder'));
 */
export async function inspectModel(model: ModelFolder): Promise<Inspection> {
  const graphs: Inspection['graphs'][number][] = [];
  // One at a time, because each file is read into memory.
  for (const [name, file] of Object.entries(graphFiles(model))) {
    const description = await describeGraph(file).catch((error: unknown) => {
      throw brokenGraph(file.path, messageOf(error), { cause: error });
    });
    graphs.push({ name: name as GraphName, path: file.path, ...description });
  }
  // A CPU widens float16 weights to float32.
  const bytes = (...names: readonly GraphName[]) =>
    graphs.filter(({ name }) => names.includes(name)).reduce((sum, { parameters }) => sum + 4 * parameters, 0);
  const denoiser = graphs.find(({ name }) => name === model.family.network);
  const text = bytes(...textGraphs(model));
  const sampling = bytes(model.family.network, 'vae_decoder');
  const shared = denoiser?.inputs.some((input) => input.name === 'timestep' && isShared(input)) ?? false;
  return {
    model,
    schedule: model.scheduler.scheduleFor(model.scheduler.solver ?? 'ddim', { tokens: imageTokens(model, model.size) }),
    graphs,
    timesteps: timestepBatching(shared && denoiser?.rewrite?.status !== 'rewritten', denoiser?.rewrite),
    weights: { all: text + sampling, lowMemory: Math.max(text, sampling), vaeEncoder: bytes('vae_encoder') },
  };
}
