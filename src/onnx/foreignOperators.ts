import type { GraphProto } from 'onnx-buf';

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

/** Operators of a graph that run on a GPU only, each once. */
export function gpuOperators({ node }: GraphProto): string[] {
  return [
    ...new Set(
      node.filter(({ domain, opType }) => domain === CONTRIB && GPU_OPERATORS.has(opType)).map((n) => n.opType),
    ),
  ];
}

/** Whether ONNX Runtime's optimizer has changed a graph: fusing and changing its precision is then done, or would break it. */
export function isOptimized({ node }: GraphProto): boolean {
  return node.some(({ domain }) => domain === CONTRIB);
}

/** Whether ONNX Runtime reports that it has no kernel for an operator. */
export function lacksKernel(message: string): boolean {
  return /NOT_IMPLEMENTED|could not find an implementation|is not a registered function|no opset import for domain/i.test(
    message,
  );
}
