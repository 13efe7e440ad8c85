import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  type AttributeProto,
  type NodeProto,
} from 'onnx-buf';
import { INT64 } from './constants.js';

/** The name of a value that is made of another here; no exporter has names like it. */
export function derived(name: string, part: string): string {
  return `srds ${name}/${part}`;
}

/** A node with one result. */
export function node(
  opType: string,
  input: string[],
  output: string,
  more: MessageInitShape<typeof NodeProtoSchema> = {},
): NodeProto {
  return create(NodeProtoSchema, { ...more, opType, input, output: [output] });
}

export function integer(name: string, value: number): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) });
}

export function real(name: string, value: number): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: value });
}

/** The tensor that a Constant gives or a ConstantOfShape is filled with. */
export function valueAttribute(tensor: MessageInitShape<typeof TensorProtoSchema>): AttributeProto {
  const t = create(TensorProtoSchema, tensor);
  return create(AttributeProtoSchema, { name: 'value', type: AttributeProto_AttributeType.TENSOR, t });
}

/** A constant of one axis. */
export function wholeNumbers(name: string, values: readonly number[]): NodeProto {
  const tensor = { dataType: INT64, dims: [BigInt(values.length)], int64Data: values.map(BigInt) };
  return node('Constant', [], name, { attribute: [valueAttribute(tensor)] });
}
