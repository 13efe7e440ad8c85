import { getFloat16 } from '@petamoriken/float16';
import { TensorProto_DataType, type GraphProto, type NodeProto, type TensorProto } from 'onnx-buf';

export const INT64: number = TensorProto_DataType.INT64;
export const FLOAT: number = TensorProto_DataType.FLOAT;
export const FLOAT16: number = TensorProto_DataType.FLOAT16;

/** The constants of a graph, by name: initializers and the results of Constant nodes. */
export type Constants = ReadonlyMap<string, TensorProto>;

export function constantsOf(graph: GraphProto): Constants {
  const constants = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  for (const node of graph.node) {
    const value = node.opType === 'Constant' ? valueOf(node) : undefined;
    if (value) constants.set(node.output[0], value);
  }
  return constants;
}

/** Whether nodes have subgraphs, as conditions and loops do. */
export function hasInnerGraphs({ node }: GraphProto): boolean {
  return node.some((one) => innerGraphs(one).length > 0);
}

/** The subgraphs of a node, of which conditions and loops have some. */
export function innerGraphs({ attribute }: NodeProto): GraphProto[] {
  return attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
}

/** The `value` attribute of a node, such as Constant or ConstantOfShape. */
export function valueOf({ attribute }: NodeProto): TensorProto | undefined {
  return attribute.find(({ name }) => name === 'value')?.t;
}

/** The elements of a small int64, float32 or float16 tensor that is stored in the graph. */
export function numbersOf(tensor: TensorProto | undefined): number[] | undefined {
  if (!tensor) return undefined;
  const { dataType, rawData, int64Data, floatData } = tensor;
  const view = new DataView(rawData.buffer, rawData.byteOffset, rawData.byteLength);
  const read = (bytes: number, at: (position: number) => number) =>
    Array.from({ length: rawData.byteLength / bytes }, (_, k) => at(bytes * k));
  switch (dataType) {
    case INT64:
      return int64Data.length > 0 ? int64Data.map(Number) : read(8, (at) => Number(view.getBigInt64(at, true)));
    case FLOAT:
      return floatData.length > 0 ? floatData : read(4, (at) => view.getFloat32(at, true));
    case FLOAT16:
      return read(2, (at) => getFloat16(view, at, true));
    default:
      return undefined;
  }
}
