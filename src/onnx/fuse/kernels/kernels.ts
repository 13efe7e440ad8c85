import { create } from '@bufbuild/protobuf';
import { OperatorSetIdProtoSchema, type ModelProto } from 'onnx-buf';
import { KERNEL_DOMAIN } from './domain.js';
import { gateAtOnce } from './geglu.js';
import { normalizeInKernels } from './groupNorms.js';
import { addAtOnce } from './sums.js';

/**
 * Replaces what ONNX Runtime computes in several kernels each by operators that this package has one kernel for, in half precision.
 * Shapes are checked when a kernel runs, so a pattern need not prove them.
 * @returns the number of normalizations that were replaced
 */
export function useKernels({ graph, opsetImport }: ModelProto): number {
  if (!graph) return 0;
  const normalizations = normalizeInKernels(graph);
  const others = gateAtOnce(graph) + addAtOnce(graph);
  if (normalizations + others > 0) {
    opsetImport.push(create(OperatorSetIdProtoSchema, { domain: KERNEL_DOMAIN, version: 1n }));
  }
  return normalizations;
}
