import { TensorProto_DataType as Type, type GraphProto, type ValueInfoProto } from 'onnx-buf';
import { elementTypeOf, retype } from './elementTypes.js';
import { renameValue, replaceUses } from './matchInputs.js';
import { castNode, derived } from './nodes.js';

/** Types that JavaScript has no arrays of, or that evaluations do not give, and the one to give instead. `widenBfloat16` leaves no bfloat16. */
const PLAIN: Readonly<Partial<Record<number, number>>> = {
  [Type.FLOAT16]: Type.FLOAT,
  [Type.DOUBLE]: Type.FLOAT,
  [Type.BOOL]: Type.INT64,
  [Type.INT8]: Type.INT64,
  [Type.INT16]: Type.INT64,
  [Type.UINT8]: Type.INT64,
  [Type.UINT16]: Type.INT64,
  [Type.UINT32]: Type.INT64,
  [Type.UINT64]: Type.INT64,
};

/** Makes the inputs of a graph float32, int32 or int64, and its floating-point outputs float32, with casts inside. */
export function plainInterface(graph: GraphProto): void {
  const weights = new Set(graph.initializer.map(({ name }) => name));
  for (const input of graph.input) {
    const [own, plain] = typesOf(input);
    if (own === undefined || plain === undefined || weights.has(input.name)) continue;
    const inside = derived(input.name, 'inside');
    replaceUses(graph, input.name, inside);
    graph.node.unshift(castNode(input.name, inside, own));
    retype(input, plain);
  }
  for (const output of graph.output) {
    const [, plain] = typesOf(output);
    if (plain !== Type.FLOAT) continue;
    const { name } = output;
    const inside = derived(name, 'inside');
    renameValue(graph, name, inside);
    output.name = name;
    graph.node.push(castNode(inside, name, plain));
    retype(output, plain);
  }
}

function typesOf(value: ValueInfoProto): [own: number | undefined, plain: number | undefined] {
  const own = elementTypeOf(value);
  return [own, own === undefined ? undefined : PLAIN[own]];
}
