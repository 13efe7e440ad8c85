import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  type AttributeProto,
  type NodeProto,
} from 'onnx-buf';
import { FLOAT, INT64 } from './constants.js';

/** A name for a value that is derived from another here. No exporter uses such names. */
export function derived(name: string, part: string): string {
  return `srds ${name}/${part}`;
}

/** Creates a node with one result. */
export function node(
  opType: string,
  input: string[],
  output: string,
  more: MessageInitShape<typeof NodeProtoSchema> = {},
): NodeProto {
  return create(NodeProtoSchema, { ...more, opType, input, output: [output] });
}

/** Creates an integer attribute. */
export function integer(name: string, value: number): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) });
}

/** Creates a Cast. @param to element type of the result */
export function castNode(input: string, output: string, to: number): NodeProto {
  return node('Cast', [input], output, { attribute: [integer('to', to)] });
}

/** Creates a Transpose. @param order of the axes */
export function transposeNode(input: string, output: string, order: readonly number[]): NodeProto {
  const ints = order.map(BigInt);
  const perm = create(AttributeProtoSchema, { name: 'perm', type: AttributeProto_AttributeType.INTS, ints });
  return node('Transpose', [input], output, { attribute: [perm] });
}

/** Creates a float attribute. */
export function real(name: string, value: number): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: value });
}

/** Creates the `value` attribute of a Constant or ConstantOfShape. */
export function valueAttribute(tensor: MessageInitShape<typeof TensorProtoSchema>): AttributeProto {
  const t = create(TensorProtoSchema, tensor);
  return create(AttributeProtoSchema, { name: 'value', type: AttributeProto_AttributeType.TENSOR, t });
}

/** Creates a float32 Constant that is a scalar. */
export function realNumber(name: string, value: number): NodeProto {
  return node('Constant', [], name, { attribute: [valueAttribute({ dataType: FLOAT, floatData: [value] })] });
}

/** Creates an int64 Constant with one axis. */
export function wholeNumbers(name: string, values: readonly number[]): NodeProto {
  const tensor = { dataType: INT64, dims: [BigInt(values.length)], int64Data: values.map(BigInt) };
  return node('Constant', [], name, { attribute: [valueAttribute(tensor)] });
}
