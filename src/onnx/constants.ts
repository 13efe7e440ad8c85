import { getFloat16 } from '@petamoriken/float16';
import { TensorProto_DataType, type GraphProto, type NodeProto, type TensorProto } from 'onnx-buf';

export const INT64: number = TensorProto_DataType.INT64;
export const FLOAT: number = TensorProto_DataType.FLOAT;
export const FLOAT16: number = TensorProto_DataType.FLOAT16;

/** What a graph says outright, by name: initializers and the results of Constant nodes. */
export type Constants = ReadonlyMap<string, TensorProto>;

export function constantsOf(graph: GraphProto): Constants {
  const constants = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  for (const node of graph.node) {
    const value = node.opType === 'Constant' ? valueOf(node) : undefined;
    if (value) constants.set(node.output[0], value);
  }
  return constants;
}

/** Whether nodes have graphs of their own, which run on a condition or in a loop. */
export function hasInnerGraphs({ node }: GraphProto): boolean {
  return node.some(({ attribute }) => attribute.some(({ g, graphs }) => g !== undefined || graphs.length > 0));
}

/** The tensor that a node gives or is filled with. */
export function valueOf({ attribute }: NodeProto): TensorProto | undefined {
  return attribute.find(({ name }) => name === 'value')?.t;
}

/** The numbers in a small tensor of int64, float32 or float16 that lies in the graph itself. */
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
