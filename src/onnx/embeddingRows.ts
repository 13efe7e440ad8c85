import type { GraphProto } from 'onnx-buf';

/** Operators that change neither the values of token ids nor which of them there are. */
const SHAPING = new Set(['Cast', 'Identity', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten']);

/**
 * Rows of the table that a graph looks the values of an input up in, such as token ids. A GPU reads beyond the table without an
 * error.
 * @returns undefined if none is found
 */
export function embeddingRows(graph: GraphProto, input: string): number | undefined {
  const tables = new Map(graph.initializer.map(({ name, dims }) => [name, dims.map(Number)]));
  const ids = new Set([input]);
  // Nodes are in the order of evaluation.
  for (const { opType, input: inputs, output } of graph.node) {
    if (SHAPING.has(opType) && ids.has(inputs[0])) ids.add(output[0]);
    const dims = opType === 'Gather' && ids.has(inputs[1]) ? tables.get(inputs[0]) : undefined;
    if (dims?.length === 2) return dims[0];
  }
  return undefined;
}
