import { TensorProto_DataType as Type, type AttributeProto, type NodeProto, type ValueInfoProto } from 'onnx-buf';

/** Name, and bytes of an element, of each ONNX type that tensors here may have. */
const TYPES: Readonly<Partial<Record<number, readonly [name: string, bytes: number]>>> = {
  [Type.FLOAT]: ['float32', 4],
  [Type.FLOAT16]: ['float16', 2],
  [Type.BFLOAT16]: ['bfloat16', 2],
  [Type.DOUBLE]: ['float64', 8],
  [Type.INT8]: ['int8', 1],
  [Type.INT16]: ['int16', 2],
  [Type.INT32]: ['int32', 4],
  [Type.INT64]: ['int64', 8],
  [Type.UINT8]: ['uint8', 1],
  [Type.UINT16]: ['uint16', 2],
  [Type.UINT32]: ['uint32', 4],
  [Type.UINT64]: ['uint64', 8],
  [Type.BOOL]: ['bool', 1],
};

/** The name of an ONNX element type. */
export function nameOfType(type: number): string {
  return TYPES[type]?.[0] ?? `type ${type}`;
}

/** Bytes of an element of an ONNX type; 0 if it is none of those above, which share bytes among elements. */
export function bytesOfType(type: number): number {
  return TYPES[type]?.[1] ?? 0;
}

/** The element type of an input or output; undefined if it is no tensor. */
export function elementTypeOf({ type }: ValueInfoProto): number | undefined {
  return type?.value.case === 'tensorType' ? type.value.value.elemType : undefined;
}

/** Declares an input or output with another element type. */
export function retype({ type }: ValueInfoProto, to: number): void {
  if (type?.value.case === 'tensorType') type.value.value.elemType = to;
}

/** Changes an attribute that sets the element type of a node's result. @returns whether it set the type `from` */
export function retypeResult({ opType }: NodeProto, attribute: AttributeProto, from: number, to: number): boolean {
  const setsType = (opType === 'Cast' && attribute.name === 'to') || attribute.name === 'dtype';
  if (!setsType || Number(attribute.i) !== from) return false;
  attribute.i = BigInt(to);
  return true;
}
