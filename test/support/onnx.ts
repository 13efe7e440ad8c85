import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType,
  type GraphProto,
  type ModelProto,
} from 'onnx-buf';

/** A model that has a graph. */
export type WholeModel = ModelProto & { graph: GraphProto };

/** Writes a changed copy of an ONNX file. */
export function changeModel(from: string, to: string, change: (model: WholeModel) => void): void {
  const model = fromBinary(ModelProtoSchema, readFileSync(from));
  const { graph } = model;
  assert.ok(graph);
  change(Object.assign(model, { graph }));
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(to, toBinary(ModelProtoSchema, model));
}

/** Makes a stock UNet one that cannot be rewritten: it works on its timestep before that is one a row. */
export function makeUnwilling({ graph }: WholeModel): void {
  for (const node of graph.node)
    node.input = node.input.map((input) => (input === 'timestep' ? 'timestep_abs' : input));
  graph.node.unshift(create(NodeProtoSchema, { opType: 'Abs', input: ['timestep'], output: ['timestep_abs'] }));
}

const FLOAT: number = TensorProto_DataType.FLOAT;

/** Makes a graph take and give float16, as exports in half precision do. */
export function makeHalf({ graph }: WholeModel): void {
  const cast = (input: string, output: string, to: TensorProto_DataType) =>
    create(NodeProtoSchema, {
      opType: 'Cast',
      input: [input],
      output: [output],
      attribute: [{ name: 'to', type: AttributeProto_AttributeType.INT, i: BigInt(to) }],
    });
  for (const { name, type } of [...graph.input, ...graph.output]) {
    if (type?.value.case !== 'tensorType' || type.value.value.elemType !== FLOAT) continue;
    type.value.value.elemType = TensorProto_DataType.FLOAT16;
    const wide = `${name}_float32`;
    if (graph.input.some((input) => input.name === name)) {
      for (const node of graph.node) node.input = node.input.map((input) => (input === name ? wide : input));
      graph.node.unshift(cast(name, wide, TensorProto_DataType.FLOAT));
    } else {
      for (const node of graph.node) {
        node.output = node.output.map((output) => (output === name ? wide : output));
        node.input = node.input.map((input) => (input === name ? wide : input));
      }
      graph.node.push(cast(wide, name, TensorProto_DataType.FLOAT16));
    }
  }
}
