import type { MessageInitShape } from '@bufbuild/protobuf';
import type { NodeProto, NodeProtoSchema } from 'onnx-buf';
import { node } from '../../nodes.js';

/** Domain of the operators that this package has kernels for (`engine/cuda/kernels`). Their tensors have the channels last. */
export const KERNEL_DOMAIN = 'srds';

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
