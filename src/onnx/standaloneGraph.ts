import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { addBatchAxes } from './batchAxis.js';
import { valuesOf } from './describeValue.js';
import type { GraphFile, GraphInfo } from './graphInfo.js';
import { prepareModel, type PreparedModel } from './prepare.js';
import { renameWeights, weightNames } from './weights.js';

/** An ONNX graph to be stored elsewhere, and the files with its weights. */
export interface StandaloneGraph
  extends Pick<PreparedModel, 'rewrite' | 'rows' | 'precision'>, Pick<GraphInfo, 'inputs' | 'outputs'> {
  /** The ONNX file, a few megabytes at most. */
  readonly source: Uint8Array;
  /** Files that it refers to: where they are, and their names relative to the ONNX file. */
  readonly weights: readonly { readonly from: string; readonly name: string }[];
}

/** Subfolder of the weights, so that none of their files has the name of the ONNX file. */
const WEIGHTS = 'weights';

/**
 * The graph that an engine runs, for another program: with the same changes, and with a batch axis for every input. No weight is read.
 * @throws Error as `prepareModel` does
 */
export async function standaloneGraph(file: GraphFile): Promise<StandaloneGraph> {
  const { source, weights: folder, rewrite, rows, precision } = await prepareModel(file);
  const model = fromBinary(ModelProtoSchema, source());
  if (!model.graph) throw new Error('the file has no graph');
  addBatchAxes(model.graph, file.constants ?? []);
  const weights = weightNames(model).map((name) => ({ from: join(folder, name), name: `${WEIGHTS}/${name}` }));
  renameWeights(model, (name) => `${WEIGHTS}/${name}`);
  return {
    ...valuesOf(model.graph),
    source: toBinary(ModelProtoSchema, model),
    weights,
    rewrite,
    rows,
    ...(precision && { precision }),
  };
}
