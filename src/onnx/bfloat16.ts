import {
  TensorProto_DataType as Type,
  type AttributeProto,
  type GraphProto,
  type NodeProto,
  type TensorProto,
} from 'onnx-buf';
import { innerGraphs } from './constants.js';
import { elementTypeOf, retype, retypeResult } from './elementTypes.js';
import { castNode, derived } from './nodes.js';
import { replaceUses } from './matchInputs.js';

/**
 * Computes a bfloat16 graph in float32, since ONNX Runtime has few kernels for bfloat16. Weights stay in their files: ONNX Runtime
 * casts each once, when it opens the graph. Inputs and outputs become float32.
 * @returns whether there was anything to change
 */
export function widenBfloat16(graph: GraphProto): boolean {
  const isChanged = widen(graph);
  if (isChanged) graph.valueInfo = [];
  return isChanged;
}

function widen(graph: GraphProto): boolean {
  let isChanged = false;
  for (const node of graph.node) {
    for (const inner of innerGraphs(node)) if (widen(inner)) isChanged = true;
    for (const attribute of node.attribute) if (widenAttribute(node, attribute)) isChanged = true;
  }
  const names = graph.initializer.filter(({ dataType }) => isBfloat16(dataType)).map(({ name }) => name);
  for (const name of names) {
    const wide = derived(name, 'float32');
    replaceUses(graph, name, wide);
    graph.node.unshift(castNode(name, wide, Type.FLOAT));
  }
  for (const value of [...graph.input, ...graph.output]) {
    if (!isBfloat16(elementTypeOf(value))) continue;
    retype(value, Type.FLOAT);
    isChanged = true;
  }
  return isChanged || names.length > 0;
}

function widenAttribute(node: NodeProto, attribute: AttributeProto): boolean {
  const { t, tensors } = attribute;
  const narrow = (t ? [t, ...tensors] : tensors).filter(({ dataType }) => isBfloat16(dataType));
  narrow.forEach(widenTensor);
  return retypeResult(node, attribute, Type.BFLOAT16, Type.FLOAT) || narrow.length > 0;
}

/** The numbers of a bfloat16 are the upper halves of those of a float32. */
function widenTensor(tensor: TensorProto): void {
  const { rawData, int32Data } = tensor;
  const view = new DataView(rawData.buffer, rawData.byteOffset, rawData.byteLength);
  const halves =
    int32Data.length > 0
      ? int32Data
      : Array.from({ length: rawData.byteLength / 2 }, (_, k) => view.getUint16(2 * k, true));
  tensor.rawData = new Uint8Array(Uint32Array.from(halves, (half) => half << 16).buffer);
  tensor.int32Data = [];
  tensor.dataType = Type.FLOAT;
}

function isBfloat16(type: number | undefined): boolean {
  return type === (Type.BFLOAT16 as number);
}
