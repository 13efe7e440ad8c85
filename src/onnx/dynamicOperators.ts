import type { GraphProto } from 'onnx-buf';

/** Operators whose results have shapes that depend on values, not on shapes alone. */
const DYNAMIC_OPERATORS = new Set(['Compress', 'NonMaxSuppression', 'NonZero', 'Unique']);

/**
 * Operators of a graph whose results have shapes that depend on values, each once. The host waits for those shapes, which no CUDA graph
 * can record: ONNX Runtime captures one all the same, and its memory accesses are illegal.
 */
export function dynamicOperators({ node }: GraphProto): string[] {
  return [...new Set(node.map(({ opType }) => opType).filter((type) => DYNAMIC_OPERATORS.has(type)))];
}
