import { create } from '@bufbuild/protobuf';
import { TensorShapeProto_DimensionSchema, type GraphProto } from 'onnx-buf';
import { INT64 } from './constants.js';
import { replaceUses } from './matchInputs.js';
import { derived, integer, node, valueAttribute } from './nodes.js';

/**
 * Gives inputs that all rows of a batch share a batch axis, as servers need that put batches together. The graph takes the first row:
 * rows of a batch have the same values there, since requests of other shapes never share a batch.
 * @param names inputs without a batch axis, such as the positions of Flux's tokens; others than the graph's are ignored
 */
export function addBatchAxes(graph: GraphProto, names: readonly string[]): void {
  for (const { name, type } of graph.input) {
    const shape = type?.value.case === 'tensorType' ? type.value.value.shape : undefined;
    if (!names.includes(name) || !shape) continue;
    const [index, first] = [derived(name, 'index'), derived(name, 'first')];
    replaceUses(graph, name, first);
    graph.node.unshift(
      node('Constant', [], index, { attribute: [valueAttribute({ dataType: INT64, int64Data: [0n] })] }),
      node('Gather', [name, index], first, { attribute: [integer('axis', 0)] }),
    );
    const batch = { case: 'dimParam', value: 'batch_size' } as const;
    shape.dim.unshift(create(TensorShapeProto_DimensionSchema, { value: batch }));
  }
}
