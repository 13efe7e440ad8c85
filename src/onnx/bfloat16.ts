import { TensorProto_DataType as Type, type AttributeProto, type GraphProto, type TensorProto } from 'onnx-buf';
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
    for (const attribute of node.attribute) if (widenAttribute(node.opType, attribute)) isChanged = true;
  }
  const names = graph.initializer.filter(({ dataType }) => isBfloat16(dataType)).map(({ name }) => name);
  for (const name of names) {
    const wide = derived(name, 'float32');
    replaceUses(graph, name, wide);
    graph.node.unshift(castNode(name, wide, Type.FLOAT));
  }
  for (const { type } of [...graph.input, ...graph.output]) {
    if (type?.value.case !== 'tensorType' || !isBfloat16(type.value.value.elemType)) continue;
    type.value.value.elemType = Type.FLOAT;
    isChanged = true;
  }
  return isChanged || names.length > 0;
}

function widenAttribute(opType: string, attribute: AttributeProto): boolean {
  const inner = attribute.g ? [attribute.g, ...attribute.graphs] : attribute.graphs;
  const isInside = inner.map(widen).includes(true);
  const tensors = [...(attribute.t ? [attribute.t] : []), ...attribute.tensors].filter(({ dataType }) =>
    isBfloat16(dataType),
  );
  tensors.forEach(widenTensor);
  const setsType = (opType === 'Cast' && attribute.name === 'to') || attribute.name === 'dtype';
  const isType = setsType && isBfloat16(Number(attribute.i));
  if (isType) attribute.i = BigInt(Type.FLOAT);
  return isInside || isType || tensors.length > 0;
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

function isBfloat16(type: number): boolean {
  return type === (Type.BFLOAT16 as number);
}
