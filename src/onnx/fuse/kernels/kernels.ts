import type { GraphProto } from 'onnx-buf';
import { gateAtOnce } from './geglu.js';
import { normalizeInKernels } from './groupNorms.js';
import { addAtOnce } from './sums.js';

/**
 * Replaces what ONNX Runtime computes in several kernels each by operators that this package has one kernel for, in half precision.
 * Shapes are checked when a kernel runs, so a pattern need not prove them.
 * @returns the number of normalizations that were replaced
 */
export function useKernels(graph: GraphProto): number {
  const normalizations = normalizeInKernels(graph);
  gateAtOnce(graph);
  addAtOnce(graph);
  return normalizations;
}
