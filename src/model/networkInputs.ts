import type { TensorInfo } from '../onnx/graphInfo.js';
import { matchInputs } from '../onnx/matchInputs.js';
import type { ModelFolder } from './modelFolder.js';

/** The denoising network of a folder: its graph, and the inputs of its file, by their names in evaluations. */
export function networkOf({ family, described }: Pick<ModelFolder, 'family' | 'described'>): {
  readonly graph: string;
  readonly inputs: readonly TensorInfo[];
} {
  const network = described.find(({ name }) => name === family.network);
  const own = network?.description.inputs ?? [];
  const names = matchInputs(own, network?.file.inputs ?? []);
  return {
    graph: family.network,
    inputs: own.map((input) => ({ ...input, name: names.get(input.name) ?? input.name })),
  };
}
