import { create, toBinary } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  ValueInfoProtoSchema,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from 'onnx-buf';
import { sizeOf } from '../tensor/tensor.js';
import { FLOAT, FLOAT16, hasInnerGraphs } from './constants.js';
import { bytesOfType } from './elementTypes.js';
import { integerOf } from './fuse/attributes.js';
import { derived, node } from './nodes.js';
import { externalData, weightNames } from './weights.js';

/** Smaller constants are not worth a tensor of their own. */
const MIN_BYTES = 1 << 16;
/**
 * Bytes of the constants that one graph computes. While it runs, the weights that it reads are in memory too, and at times what is between
 * them and a constant: for a cast from float32 to float16, twice its bytes each.
 */
const PART_BYTES = 2 ** 28;
/** A place after the end of any file: what ONNX Runtime reads from there is an error, not other numbers. */
const NOWHERE = 2 ** 40;
/** Operators whose kernels keep a copy of their weights in another layout, and the input that has the weights. */
const PACKING = /^(Fused)?Conv(Transpose)?$/;
const PACKED_INPUT = 1;

/** A constant that sessions share. */
interface SharedConstant {
  readonly name: string;
  readonly type: 'float32' | 'float16';
  readonly dims: readonly number[];
}

/** A graph without inputs that computes some of the constants. */
export interface ConstantPart {
  readonly source: Uint8Array;
  /** What it computes, and the name of its output. */
  readonly outputs: readonly (SharedConstant & { readonly output: string })[];
}

/** A graph whose large constants are computed once, for all its sessions. */
export interface SharingGraph {
  /** Its sessions are given the constants by name; none opens without them. */
  readonly model: ModelProto;
  readonly parts: readonly ConstantPart[];
}

/** A constant whose shape is known. */
interface Known {
  readonly dataType: number;
  readonly dims: readonly number[];
}

type Constant = Known & { readonly name: string };

/**
 * Takes the large constants out of a graph: weights, and what it computes from weights alone, such as their casts. Weights of convolutions
 * stay: for each session, ONNX Runtime's CUDA kernels copy them to another layout and free the original, which a shared one would add to.
 * @returns undefined if there is nothing to share
 */
export function shareConstants(model: ModelProto): SharingGraph | undefined {
  const { graph } = model;
  if (!graph || hasInnerGraphs(graph)) return undefined;
  const file = weightNames(model).at(0);
  const known = knownConstants(graph);
  const { nodes, shared } = takeOut(graph, known, worthSharing(graph, known));
  if (file === undefined || shared.size === 0) return undefined;
  const constants = [...shared].map(([name, one]) => ({ ...one, name }));
  const kept = tensorsFor(graph, nodes).filter(({ name }) => !shared.has(name));
  const initializer = [...kept, ...constants.map((one) => placeholder(one, file))];
  return {
    model: withGraph(model, { node: nodes, initializer }),
    parts: partsOf(constants).map((part) => constantPart(model, graph, part)),
  };
}

/** The constants of a graph, by name; undefined where the shape is not known. */
function knownConstants(graph: GraphProto): Map<string, Known | undefined> {
  const inputs = new Set(graph.input.map(({ name }) => name));
  const known = new Map<string, Known | undefined>([['', undefined]]);
  for (const { name, dataType, dims } of graph.initializer)
    if (!inputs.has(name)) known.set(name, { dataType, dims: dims.map(Number) });
  for (const one of graph.node) {
    if (!one.input.every((name) => known.has(name))) continue;
    const inferred = infer(
      one,
      one.input.map((name) => known.get(name)),
    );
    for (const name of one.output) known.set(name, inferred);
  }
  return known;
}

/** Type and shape of the result of a node; undefined for operators other than those that weights go through. */
function infer(one: NodeProto, [first, ...others]: readonly (Known | undefined)[]): Known | undefined {
  if (!first) return undefined;
  const { dims } = first;
  switch (one.opType) {
    case 'Identity':
      return first;
    case 'Cast':
      return { ...first, dataType: integerOf(one, 'to') ?? first.dataType };
    case 'Transpose': {
      const axes =
        one.attribute.find(({ name }) => name === 'perm')?.ints.map(Number) ?? dims.map((_, k) => k).reverse();
      return { ...first, dims: axes.map((axis) => dims[axis]) };
    }
    case 'Concat': {
      const given = integerOf(one, 'axis') ?? 0;
      const axis = given < 0 ? given + dims.length : given;
      const lengths = [first, ...others].map((part) => part?.dims[axis] ?? NaN);
      const length = lengths.reduce((sum, next) => sum + next, 0);
      return Number.isNaN(length) ? undefined : { ...first, dims: dims.with(axis, length) };
    }
    default:
      return undefined;
  }
}

/** The large constants that nodes with other inputs read, by name, but for those that kernels copy to another layout. */
function worthSharing(graph: GraphProto, known: ReadonlyMap<string, Known | undefined>): Map<string, Known> {
  const outputs = new Set(graph.output.map(({ name }) => name));
  const found = new Map<string, Known>();
  const packed = new Set<string>();
  for (const { opType, input } of graph.node) {
    if (input.every((name) => known.has(name))) continue;
    if (PACKING.test(opType)) packed.add(input[PACKED_INPUT]);
    for (const name of input) {
      const constant = known.get(name);
      if (constant && isLarge(constant) && !outputs.has(name)) found.set(name, constant);
    }
  }
  for (const name of packed) found.delete(name);
  return found;
}

function isLarge({ dataType, dims }: Known): boolean {
  return (dataType === FLOAT || dataType === FLOAT16) && sizeOf(dims) * bytesOfType(dataType) >= MIN_BYTES;
}

/**
 * Takes constants out of a graph.
 * @returns the nodes that stay, and the constants but for those that others which stay are computed from: ONNX Runtime computes those
 *   when a session opens, from the file
 */
function takeOut(
  graph: GraphProto,
  known: ReadonlyMap<string, Known | undefined>,
  constants: ReadonlyMap<string, Known>,
): { readonly nodes: NodeProto[]; readonly shared: ReadonlyMap<string, Known> } {
  const isConstant = ({ input }: NodeProto) => input.every((name) => known.has(name));
  const others = graph.node.filter((one) => !isConstant(one)).flatMap(({ input }) => input);
  const ends = [...others, ...graph.output.map(({ name }) => name)];
  const shared = new Map(constants);
  for (;;) {
    const needed = needs(graph, ends, shared);
    const nodes = graph.node.filter((one) => !isConstant(one) || needed.has(one));
    const unshared = nodes.filter(isConstant).flatMap(({ input }) => input.filter((name) => shared.has(name)));
    if (unshared.length === 0) return { nodes, shared };
    for (const name of unshared) shared.delete(name);
  }
}

/** The nodes that values are computed by, directly or not. @param given values that need none */
function needs(
  graph: GraphProto,
  values: readonly string[],
  given: { readonly has: (name: string) => boolean } = new Set(),
): Set<NodeProto> {
  const maker = new Map(graph.node.flatMap((one) => one.output.map((name) => [name, one] as const)));
  const found = new Set<NodeProto>();
  const open = [...values];
  for (const name of open) {
    const made = given.has(name) ? undefined : maker.get(name);
    if (!made || found.has(made)) continue;
    found.add(made);
    open.push(...made.input);
  }
  return found;
}

/** The initializers that nodes read, or that are inputs or outputs of the graph. */
function tensorsFor({ initializer, input, output }: GraphProto, nodes: readonly NodeProto[]): TensorProto[] {
  const read = new Set([...nodes.flatMap((one) => one.input), ...[...input, ...output].map(({ name }) => name)]);
  return initializer.filter(({ name }) => read.has(name));
}

/** Declares a constant whose numbers no file has. */
function placeholder({ name, dataType, dims }: Constant, location: string): TensorProto {
  const length = sizeOf(dims) * bytesOfType(dataType);
  return create(TensorProtoSchema, {
    name,
    dataType,
    dims: dims.map(BigInt),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: externalData({ location, offset: NOWHERE, length }),
  });
}

/** Divides constants so that none of several has more than `PART_BYTES`. */
function partsOf(constants: readonly Constant[]): Constant[][] {
  const parts: Constant[][] = [];
  let room = 0;
  for (const one of constants) {
    const bytes = sizeOf(one.dims) * bytesOfType(one.dataType);
    if (bytes > room) {
      parts.push([]);
      room = PART_BYTES;
    }
    parts[parts.length - 1].push(one);
    room -= bytes;
  }
  return parts;
}

function constantPart(model: ModelProto, graph: GraphProto, constants: readonly Constant[]): ConstantPart {
  const makers = needs(
    graph,
    constants.map(({ name }) => name),
  );
  const computed = new Set([...makers].flatMap(({ output }) => output));
  const outputs = constants.map(({ name, dataType, dims }) => {
    const type: SharedConstant['type'] = dataType === FLOAT ? 'float32' : 'float16';
    return { name, type, dims, output: computed.has(name) ? name : derived(name, 'shared') };
  });
  // An output is the result of a node, also that of a weight as its file has it.
  const copies = outputs.filter(({ name, output }) => output !== name);
  const nodes = [
    ...graph.node.filter((one) => makers.has(one)),
    ...copies.map(({ name, output }) => node('Identity', [name], output)),
  ];
  const read = new Set(nodes.flatMap(({ input }) => input));
  const part = withGraph(model, {
    node: nodes,
    initializer: graph.initializer.filter(({ name }) => read.has(name)),
    input: [],
    output: constants.map((one, k) => declared(outputs[k].output, one)),
    valueInfo: [],
  });
  return { source: toBinary(ModelProtoSchema, part), outputs };
}

function declared(name: string, { dims, dataType: elemType }: Known): ValueInfoProto {
  const dim = dims.map((length) =>
    create(TensorShapeProto_DimensionSchema, { value: { case: 'dimValue', value: BigInt(length) } }),
  );
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType, shape: { dim } } } },
  });
}

/** A model whose graph has other parts. */
function withGraph(model: ModelProto, changes: Partial<GraphProto>): ModelProto {
  const graph = Object.assign(create(GraphProtoSchema), model.graph, changes);
  return Object.assign(create(ModelProtoSchema), model, { graph });
}
