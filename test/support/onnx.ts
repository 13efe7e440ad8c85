import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType,
  ValueInfoProtoSchema,
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

/** Operator, inputs, outputs and attributes of a node. */
export type SmallNode = readonly [
  type: string,
  input: string,
  output: string,
  attributes?: Readonly<Record<string, number | readonly number[] | GraphProto>>,
];

/** A graph small enough to be written down; names in a list are separated by spaces. */
export interface SmallGraph {
  readonly nodes: readonly SmallNode[];
  /** Axes, a name for a free one; float32. */
  readonly inputs?: Readonly<Record<string, readonly (number | string)[]>>;
  readonly outputs: string;
  /** Weights in float32 by name, and constants of whole numbers, an array being one of one axis. */
  readonly weights?: Readonly<Record<string, { readonly dims: readonly number[]; readonly values: Float32Array }>>;
  readonly numbers?: Readonly<Record<string, number | readonly number[]>>;
}

export function smallGraph({ nodes, inputs = {}, outputs, weights = {}, numbers = {} }: SmallGraph): GraphProto {
  const list = (names: string) => (names === '' ? [] : names.split(' '));
  const tensorType = (dims?: readonly (number | string)[]) => ({
    value: {
      case: 'tensorType' as const,
      value: {
        elemType: FLOAT,
        ...(dims && {
          shape: {
            dim: dims.map((dim) => ({
              value:
                typeof dim === 'number'
                  ? { case: 'dimValue' as const, value: BigInt(dim) }
                  : { case: 'dimParam' as const, value: dim },
            })),
          },
        }),
      },
    },
  });
  const attribute = ([name, value]: [string, number | readonly number[] | GraphProto]) => {
    if (typeof value === 'number') {
      return Number.isInteger(value)
        ? { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) }
        : { name, type: AttributeProto_AttributeType.FLOAT, f: value };
    }
    if ('node' in value) return { name, type: AttributeProto_AttributeType.GRAPH, g: value };
    return { name, type: AttributeProto_AttributeType.INTS, ints: value.map(BigInt) };
  };
  return create(GraphProtoSchema, {
    name: 'small',
    node: nodes.map(([opType, input, output, attributes = {}]) => ({
      opType,
      input: list(input),
      output: list(output),
      attribute: Object.entries(attributes).map(attribute),
    })),
    input: Object.entries(inputs).map(([name, dims]) => ({ name, type: tensorType(dims) })),
    output: list(outputs).map((name) => ({ name, type: tensorType() })),
    initializer: [
      ...Object.entries(weights).map(([name, { dims, values }]) => ({
        name,
        dataType: FLOAT,
        dims: dims.map(BigInt),
        floatData: [...values],
      })),
      ...Object.entries(numbers).map(([name, values]) => ({
        name,
        dataType: TensorProto_DataType.INT64,
        dims: typeof values === 'number' ? [] : [BigInt(values.length)],
        int64Data: [values].flat().map(BigInt),
      })),
    ],
  });
}

/** Writes a graph as an ONNX file. */
export function writeSmall(file: string, graph: SmallGraph): void {
  const opsetImport = [{ domain: '', version: 17n }];
  const model = create(ModelProtoSchema, { irVersion: 9n, opsetImport, graph: smallGraph(graph) });
  writeFileSync(file, toBinary(ModelProtoSchema, model));
}

/** Fixes an axis of an input. */
export function fixAxis({ graph }: WholeModel, name: string, axis: number, length: number): void {
  const type = graph.input.find((input) => input.name === name)?.type?.value;
  assert.ok(type?.case === 'tensorType' && type.value.shape);
  type.value.shape.dim[axis].value = { case: 'dimValue', value: BigInt(length) };
}

/** Changes the type of an input, with a cast to what the graph had inside. */
export function retypeInput({ graph }: WholeModel, name: string, to: number): void {
  const type = graph.input.find((input) => input.name === name)?.type?.value;
  assert.ok(type?.case === 'tensorType');
  const i = BigInt(type.value.elemType);
  type.value.elemType = to;
  for (const node of graph.node) node.input = node.input.map((input) => (input === name ? `${name}_inside` : input));
  const attribute = [{ name: 'to', type: AttributeProto_AttributeType.INT, i }];
  graph.node.unshift(create(NodeProtoSchema, { opType: 'Cast', input: [name], output: [`${name}_inside`], attribute }));
}

/** Renames inputs. */
export function renameInputs({ graph }: WholeModel, names: Readonly<Record<string, string>>): void {
  const renamed = (name: string) => names[name] ?? name;
  for (const input of graph.input) input.name = renamed(input.name);
  for (const node of graph.node) node.input = node.input.map(renamed);
}

/** Renames an output. */
export function renameOutput({ graph }: WholeModel, from: string, to: string): void {
  const renamed = (name: string) => (name === from ? to : name);
  for (const output of graph.output) output.name = renamed(output.name);
  for (const node of graph.node) {
    node.input = node.input.map(renamed);
    node.output = node.output.map(renamed);
  }
}

/** Gives a graph an operator that ONNX Runtime's optimizer makes for CUDA. */
export function optimizedForCuda({ graph, opsetImport }: WholeModel): void {
  opsetImport.push(create(OperatorSetIdProtoSchema, { domain: 'com.microsoft', version: 1n }));
  Object.assign(graph.node.find(({ opType }) => opType === 'Conv') ?? {}, {
    domain: 'com.microsoft',
    opType: 'NhwcConv',
  });
}

/** Adds an input that nothing reads. */
export function addInput({ graph }: WholeModel, name: string, elemType: number, dims: readonly string[]): void {
  const dim = dims.map((value) => ({ value: { case: 'dimParam' as const, value } }));
  const value = { case: 'tensorType' as const, value: { elemType, shape: { dim } } };
  graph.input.push(create(ValueInfoProtoSchema, { name, type: { value } }));
}

/**
 * Rounds the weights of a float32 graph to bfloat16.
 * @param what `weights`: their values alone, `all`: the type of everything
 */
export function makeBfloat16({ graph }: WholeModel, what: 'weights' | 'all'): void {
  const BFLOAT16 = TensorProto_DataType.BFLOAT16 as number;
  const attributes = graph.node.flatMap((node) => node.attribute.map((attribute) => ({ node, attribute })));
  const tensors = [...graph.initializer, ...attributes.flatMap(({ attribute }) => attribute.t ?? [])];
  for (const tensor of tensors.filter(({ dataType }) => dataType === FLOAT)) {
    const halves = new Uint16Array(Uint8Array.from(tensor.rawData).buffer).filter((_, k) => k % 2 === 1);
    if (what === 'all') Object.assign(tensor, { dataType: BFLOAT16, rawData: new Uint8Array(halves.buffer) });
    else tensor.rawData = new Uint8Array(Uint32Array.from(halves, (half) => half << 16).buffer);
  }
  if (what === 'weights') return;
  for (const { node, attribute } of attributes) {
    if (node.opType === 'Cast' && Number(attribute.i) === FLOAT) attribute.i = BigInt(BFLOAT16);
  }
  for (const { type } of [...graph.input, ...graph.output]) {
    if (type?.value.case === 'tensorType' && type.value.value.elemType === FLOAT) type.value.value.elemType = BFLOAT16;
  }
  graph.valueInfo = [];
}
