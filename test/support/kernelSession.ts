import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { Generator } from 'srds/random';
import { CustomOperators } from '../../src/engine/cuda/kernels/customOperators.js';
import { OrtApi } from '../../src/engine/cuda/ortApi.js';
import { OrtSession } from '../../src/engine/cuda/ortSession.js';
import type { GraphFile } from '../../src/onnx/graphInfo.js';
import { KERNEL_DOMAIN } from '../../src/onnx/fuse/kernels/domain.js';
import { prepareModel, type BucketShape, type GraphSource, type PreparedModel } from '../../src/onnx/prepare.js';
import { sizeOf } from '../../src/tensor/tensor.js';
import { referenceOperators } from './kernelReference.js';

/** The operators with the reference as kernels, as sessions on the CPU take them. */
export async function cpuKernels(api?: OrtApi): Promise<CustomOperators> {
  const used = api ?? (await OrtApi.load());
  return new CustomOperators(used, KERNEL_DOMAIN, undefined, referenceOperators(used.koffi));
}

/** A graph as it is prepared for CUDA in half precision. */
export function prepareHalf(file: GraphFile): Promise<PreparedModel> {
  return prepareModel({ ...file, precision: 'float16' }, { kind: 'cuda', fused: true });
}

/** What a graph gives without and with the operators of this package's kernels, and how many of each it has. */
export interface KernelComparison {
  readonly counts: Readonly<Record<string, number>>;
  /** The largest difference, as a share of the largest value. */
  readonly share: number;
}

/** Compares the outputs of both graphs on the CPU. @param dims of the inputs; a timestep is in the middle of the schedule */
export async function compareKernels(
  file: GraphFile,
  dims: Readonly<Record<string, readonly number[]>>,
): Promise<KernelComparison> {
  const api = await OrtApi.load();
  const prepared = await prepareHalf(file);
  const rows = Object.values(dims)[0][0];
  const shape = { rows, shapes: new Map(Object.entries(dims)), indexed: [] };
  const fused = prepared.withKernels();
  if (!fused) return { counts: {}, share: 0 };
  const counts: Record<string, number> = {};
  for (const { domain, opType } of fromBinary(ModelProtoSchema, fused.source(shape)).graph?.node ?? []) {
    if (domain === KERNEL_DOMAIN) counts[opType] = (counts[opType] ?? 0) + 1;
  }
  const plain = await run(api, prepared, prepared, shape);
  const own = await run(api, prepared, fused, shape, await cpuKernels(api));
  const largest = (values: readonly number[]) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return { counts, share: largest(plain.map((value, k) => value - own[k])) / largest(plain) };
}

async function run(
  api: OrtApi,
  { values, weights }: PreparedModel,
  { source }: GraphSource,
  shape: BucketShape,
  operators?: CustomOperators,
): Promise<readonly number[]> {
  const settings = { device: { kind: 'cpu', index: 0 }, threads: 2, weights, operators } as const;
  const session = OrtSession.open(api, source(shape), settings);
  try {
    const random = new Generator(7);
    for (const { name, type } of values.inputs) {
      const given = shape.shapes.get(name) ?? [];
      const data = session.allocate(name, type, given);
      if (data instanceof BigInt64Array) data.fill(500n);
      else if (name === 'timestep') data.fill(500);
      else data.set(random.randn(sizeOf(given)));
    }
    const output = await session.run(values.outputs[0].name, new Set(values.inputs.map(({ name }) => name)));
    return Array.from(output);
  } finally {
    await session.close();
  }
}
