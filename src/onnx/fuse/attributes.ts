import type { NodeProto } from 'onnx-buf';

/** The axes of a Transpose, separated by commas. */
export function permutation(node: NodeProto | undefined): string | undefined {
  const ints = node?.opType === 'Transpose' ? node.attribute.find(({ name }) => name === 'perm')?.ints : undefined;
  return ints?.join();
}

/** The default of normalizations. */
const DEFAULT_EPSILON = 1e-5;

/** What a normalization adds to the variance. */
export function epsilonOf({ attribute }: NodeProto): number {
  return attribute.find(({ name }) => name === 'epsilon')?.f ?? DEFAULT_EPSILON;
}

/** An integer attribute of a node. */
export function integerOf({ attribute }: NodeProto, wanted: string): number | undefined {
  const found = attribute.find(({ name }) => name === wanted);
  return found && Number(found.i);
}
