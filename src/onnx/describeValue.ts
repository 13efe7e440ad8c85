import { TensorProto_DataType, type ValueInfoProto } from 'onnx-buf';
import type { TensorInfo } from './graphInfo.js';

const TYPES: Readonly<Partial<Record<number, string>>> = {
  [TensorProto_DataType.FLOAT]: 'float32',
  [TensorProto_DataType.FLOAT16]: 'float16',
  [TensorProto_DataType.DOUBLE]: 'float64',
  [TensorProto_DataType.INT32]: 'int32',
  [TensorProto_DataType.INT64]: 'int64',
  [TensorProto_DataType.BOOL]: 'bool',
};

/** Describes an input or output as the file declares it. */
export function describeValue({ name, type }: ValueInfoProto): TensorInfo {
  if (type?.value.case !== 'tensorType') return { name, type: 'not a tensor', dims: [] };
  const { elemType, shape } = type.value.value;
  const dims = (shape?.dim ?? []).map(({ value }) =>
    value.case === 'dimValue' ? Number(value.value) : (value.value ?? '?'),
  );
  return { name, type: TYPES[elemType] ?? `type ${elemType}`, dims };
}
