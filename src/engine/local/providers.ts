import { create, toBinary } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType,
  ValueInfoProtoSchema,
  type NodeProto,
} from 'onnx-buf';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Processor } from '../device.js';
import { KERNEL_DOMAIN, kernelNode } from '../../onnx/fuse/kernels/domain.js';
import { castNode, node } from '../../onnx/nodes.js';

/** ONNX Runtime's execution providers for a device. Operators that a provider has no kernel for run on the CPU. */
export function providersOf({ kind, index }: Processor): InferenceSession.ExecutionProviderConfig[] {
  switch (kind) {
    case 'cpu':
      return ['cpu'];
    case 'cuda':
      return [{ name: 'cuda', deviceId: index }, 'cpu'];
    case 'webgpu':
      return ['webgpu', 'cpu'];
  }
}

/** Opens and runs a graph of one addition on a device. @throws Error whatever ONNX Runtime reports */
export async function tryProviders(device: Processor): Promise<void> {
  const session = await InferenceSession.create(addition(), {
    executionProviders: providersOf(device),
    logSeverityLevel: 4,
  });
  const x = new Tensor('float32', Float32Array.of(1, 2), [2]);
  const { y } = await session.run({ x });
  await session.release();
  if (y.data[1] !== 4) throw new Error(`2 + 2 gave ${String(y.data[1])}`);
}

/** A graph of one addition in this package's kernels, in half precision. */
export function kernelAddition(): Uint8Array {
  const nodes = [
    castNode('x', 'half', TensorProto_DataType.FLOAT16),
    kernelNode('Sum', ['half', undefined, 'half'], ['sum']),
    castNode('sum', 'y', TensorProto_DataType.FLOAT),
  ];
  return addition(nodes, [KERNEL_DOMAIN]);
}

/** A graph of one addition: y = x + x, [2]. @param added the nodes that add; ONNX's own by default */
export function addition(
  added: readonly NodeProto[] = [node('Add', ['x', 'x'], 'y')],
  domains: readonly string[] = [],
): Uint8Array {
  const value = (name: string) =>
    create(ValueInfoProtoSchema, {
      name,
      type: {
        value: {
          case: 'tensorType',
          value: { elemType: TensorProto_DataType.FLOAT, shape: { dim: [{ value: { case: 'dimValue', value: 2n } }] } },
        },
      },
    });
  const graph = create(GraphProtoSchema, {
    name: 'probe',
    node: [...added],
    input: [value('x')],
    output: [value('y')],
  });
  const opsetImport = [{ domain: '', version: 17n }, ...domains.map((domain) => ({ domain, version: 1n }))];
  const model = create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph });
  return toBinary(ModelProtoSchema, model);
}
