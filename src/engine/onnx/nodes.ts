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

/** A constant of one axis. */
export function wholeNumbers(name: string, values: readonly number[]): NodeProto {
  const t = create(TensorProtoSchema, {
    dataType: INT64,
    dims: [BigInt(values.length)],
    int64Data: values.map(BigInt),
  });
  const value = create(AttributeProtoSchema, { name: 'value', type: AttributeProto_AttributeType.TENSOR, t });
  return node('Constant', [], name, { attribute: [value] });
}
