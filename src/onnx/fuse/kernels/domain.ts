import type { MessageInitShape } from '@bufbuild/protobuf';
import type { NodeProto, NodeProtoSchema } from 'onnx-buf';
import { node } from '../../nodes.js';

/** Domain of the operators that this package has kernels for (`engine/cuda/kernels`). Their tensors have the channels last. */
export const KERNEL_DOMAIN = 'srds';

/** Most values of a tensor that a thread moves at once. */
const MOST_HALVES = 8;
/** Most groups that a group normalization can have, and most vectors of its channels: as many as its blocks have threads. */
export const MOST_GROUPS = 128;
export const MOST_VECTORS = 512;

/** How many values a thread moves at once, if so many lie together. */
export function halvesOf(...together: readonly number[]): number {
  let halves = MOST_HALVES;
  while (together.some((length) => length % halves !== 0)) halves /= 2;
  return halves;
}

/** Creates a node of one of them. */
export function kernelNode(
  opType: string,
  input: readonly (string | undefined)[],
  output: readonly string[],
  attribute: MessageInitShape<typeof NodeProtoSchema>['attribute'] = [],
): NodeProto {
  const given = input.map((name) => name ?? '');
  // Inputs at the end are left out.
  while (given.at(-1) === '') given.pop();
  const made = node(opType, given, output[0], { domain: KERNEL_DOMAIN, attribute });
  made.output = [...output];
  return made;
}
