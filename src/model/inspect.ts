import { brokenGraph } from '../onnx/brokenGraph.js';
import { describeGraph, type GraphDescription } from '../onnx/describe.js';
import { isShared } from '../onnx/graphInfo.js';
import { messageOf } from '../errors.js';
import type { ScheduleConfig } from '../schedule/config.js';
import { graphFiles, type GraphName, type ModelFolder } from './modelFolder.js';
import { timestepBatching, type TimestepBatching } from './networks.js';

/** What a model folder holds. */
export interface Inspection {
  readonly model: ModelFolder;
  /** As the default solver reads it. */
  readonly schedule: ScheduleConfig;
  readonly graphs: readonly (GraphDescription & { readonly name: GraphName; readonly path: string })[];
  readonly timesteps: TimestepBatching;
  /** Bytes of weights in memory at the same time, as float32; an initial image adds the VAE encoder's. */
  readonly weights: { readonly all: number; readonly lowMemory: number; readonly vaeEncoder: number };
}

/**
 * Looks into a model folder, its graphs included, without loading it.
 * @throws SrdsError MODEL_INVALID if a graph cannot be read
 */
export async function inspectModel(model: ModelFolder): Promise<Inspection> {
  const graphs: Inspection['graphs'][number][] = [];
  // One after the other: each file is in memory while it is looked at.
  for (const [name, file] of Object.entries(graphFiles(model))) {
    const description = await describeGraph(file).catch((error: unknown) => {
      throw brokenGraph(file.path, messageOf(error), { cause: error });
    });
    graphs.push({ name: name as GraphName, path: file.path, ...description });
  }
  // Weights that a file keeps as float16 are widened on a CPU.
  const bytes = (...names: readonly GraphName[]) =>
    graphs.filter(({ name }) => names.includes(name)).reduce((sum, { parameters }) => sum + 4 * parameters, 0);
  const text = bytes('text_encoder', 'text_encoder_2');
  const drawing = bytes('unet', 'vae_decoder');
  const unet = graphs.find(({ name }) => name === 'unet');
  const shared = unet?.inputs.some((input) => input.name === 'timestep' && isShared(input)) ?? false;
  return {
    model,
    schedule: model.scheduler.scheduleFor(model.scheduler.solver ?? 'ddim'),
    graphs,
    timesteps: timestepBatching(shared && unet?.rewrite?.status !== 'rewritten', unet?.rewrite),
    weights: { all: text + drawing, lowMemory: Math.max(text, drawing), vaeEncoder: bytes('vae_encoder') },
  };
}
