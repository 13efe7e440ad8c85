import { create } from '@bufbuild/protobuf';
import {
  TensorProto_DataType,
  TensorShapeProto_DimensionSchema,
  ValueInfoProtoSchema,
  type GraphProto,
  type TensorShapeProto_Dimension,
} from 'onnx-buf';
import { derived, node } from './nodes.js';

/** Name of the int32 input that selects an entry of the indexed inputs for each row of a batch, [rows]. */
export const ROW_INPUT = 'srds/row';

/**
 * Turns inputs into tables: each row of a batch gathers the entry that `ROW_INPUT` selects. So conditioning that the rows of
 * a batch share is sent to the device once.
 * @param rows of a batch
 * @throws Error if an input has no shape
 */
export function indexConditioning(graph: GraphProto, names: readonly string[], rows: number): void {
  if (names.length === 0) return;
  for (const name of names) {
    const type = graph.input.find((input) => input.name === name)?.type?.value;
    if (type?.case !== 'tensorType' || !type.value.shape) throw new Error(`input ${name} has no shape`);
    type.value.shape.dim[0] = axis({ case: 'dimParam', value: 'table' });
    const taken = derived(name, 'rows');
    for (const one of graph.node) one.input = one.input.map((input) => (input === name ? taken : input));
    graph.node.unshift(node('Gather', [name, ROW_INPUT], taken));
  }
  const shape = { dim: [axis({ case: 'dimValue', value: BigInt(rows) })] };
  const type = { value: { case: 'tensorType' as const, value: { elemType: TensorProto_DataType.INT32, shape } } };
  graph.input.push(create(ValueInfoProtoSchema, { name: ROW_INPUT, type }));
}

function axis(value: TensorShapeProto_Dimension['value']): TensorShapeProto_Dimension {
  return create(TensorShapeProto_DimensionSchema, { value });
}
