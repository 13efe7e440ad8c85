import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, NodeProtoSchema, type GraphProto, type ModelProto } from 'onnx-buf';

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
