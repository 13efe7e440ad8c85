import type { GraphProto, NodeProto } from 'onnx-buf';
import { failedNode } from './ortMessage.js';

/**
 * Operators of ONNX Runtime that its CPU provider has no kernel for. Its optimizer for transformers puts them into graphs for a GPU.
 * Source: get_all_opkernel_def and get_all_operator_schema of ONNX Runtime 1.32.
 */
const GPU_OPERATORS = new Set([
  'BiasAdd',
  'BiasSplitGelu',
  'DecoderMaskedSelfAttention',
  'FusedMatMulActivation',
  'GatedRelativePositionBias',
  'GemmFastGelu',
  'GemmFloat8',
  'GroupNorm',
  'LongformerAttention',
  'NhwcConv',
  'NhwcFusedConv',
  'PackedAttention',
  'PackedMultiHeadAttention',
  'PagedAttention',
  'QOrderedAttention',
  'QOrderedGelu',
  'QOrderedLayerNormalization',
  'QOrderedMatMul',
  'RelativePositionBias',
  'RemovePadding',
  'RestorePadding',
  'SkipGroupNorm',
]);
const CONTRIB = 'com.microsoft';

/** A graph has operators that a device has no kernel for. */
export class ForeignOperators extends Error {}

/** The kernel of an operator that ONNX Runtime's optimizer made does not take the graph's sizes. */
export class RefusedOperator extends Error {}

/** An operator that ONNX Runtime's optimizer has put into a graph. */
export interface OptimizedOperator {
  readonly name: string;
  /** Whether it runs on a GPU only. */
  readonly isForGpu: boolean;
}

/**
 * Operators that ONNX Runtime's optimizer has put into a graph, each once. If there are any, fusing and changing the precision is done,
 * or would break the graph.
 */
export function optimizedOperators({ node }: GraphProto): OptimizedOperator[] {
  const isForGpu = new Map<string, boolean>();
  for (const one of node) {
    if (one.domain === CONTRIB) isForGpu.set(one.opType, (isForGpu.get(one.opType) ?? false) || runsOnGpuOnly(one));
  }
  return Array.from(isForGpu, ([name, only]) => ({ name, isForGpu: only }));
}

/** A CPU takes no attention whose query, key and value, or key and value, are packed into one input. */
function runsOnGpuOnly({ opType, input }: NodeProto): boolean {
  return GPU_OPERATORS.has(opType) || (opType === 'MultiHeadAttention' && !input[2]);
}

/** Names of those of the operators that run on a GPU only. */
export function gpuOperators(optimized: readonly OptimizedOperator[]): string[] {
  return optimized.flatMap(({ name, isForGpu }) => (isForGpu ? [name] : []));
}

/**
 * The error if ONNX Runtime failed in an operator that its optimizer has put into a graph: several of CUDA's kernels take the sizes of
 * published models only.
 * @param optimized operators that the optimizer has put into the graph
 * @param message ONNX Runtime's
 * @returns undefined if it failed otherwise
 */
export function refusedOperator(optimized: readonly OptimizedOperator[], message: string): RefusedOperator | undefined {
  const node = failedNode(message);
  if (!node || !optimized.some(({ name }) => name === node.operator)) return undefined;
  const how = gpuOperators(optimized).length > 0 ? 'optimized for CUDA' : 'optimized';
  return new RefusedOperator(`one that was ${how}, whose ${node.operator} fails: ${node.why}`);
}

/** Whether ONNX Runtime reports that it has no kernel for an operator. */
export function lacksKernel(message: string): boolean {
  return /NOT_IMPLEMENTED|could not find an implementation|is not a registered function|no opset import for domain/i.test(
    message,
  );
}
