import { sizeOf } from '../tensor/tensor.js';
import type { GraphProto, NodeProto, TensorProto } from 'onnx-buf';
import { FLOAT, FLOAT16, hasInnerGraphs, valueOf } from './constants.js';
import { elementTypeOf, retypeResult } from './elementTypes.js';
import { castNode, derived } from './nodes.js';

/**
 * Converts a graph to half precision; inputs and outputs stay float32. Weights stay in their files: ONNX Runtime casts each
 * once, when it opens the graph. Some nodes stay float32: those that lead to a sine or cosine, since half precision cannot hold the
 * phase of a timestep; those that depend on shapes and constants only, which ONNX Runtime computes once; and the scales of
 * Resize, as ONNX requires.
 * @returns why the graph cannot be converted; it is unchanged then
 */
export function computeInHalf(graph: GraphProto): string | undefined {
  if (hasInnerGraphs(graph)) return 'it has subgraphs, which run on a condition or in a loop';
  const constant = ofConstants(graph);
  const single = new Set([...leadingToPhases(graph), ...constant.nodes]);
  const nodes: NodeProto[] = [];
  const halves = new Map<string, string>();
  const sources = new Set([
    ...graph.initializer.filter(({ dataType }) => dataType === FLOAT).map(({ name }) => name),
    ...graph.input.filter((input) => elementTypeOf(input) === FLOAT).map(({ name }) => name),
    ...constant.floats,
  ]);
  const half = (name: string): string => {
    if (!sources.has(name)) return name;
    const known = halves.get(name);
    if (known !== undefined) return known;
    const cast = derived(name, 'float16');
    nodes.push(castNode(name, cast, FLOAT16));
    halves.set(name, cast);
    return cast;
  };
  const outputs = new Set(graph.output.filter((output) => elementTypeOf(output) === FLOAT).map(({ name }) => name));
  for (const node of graph.node) {
    if (single.has(node)) {
      if (isPhase(node)) node.output.forEach((name) => sources.add(name));
      nodes.push(node);
      continue;
    }
    node.input = node.input.map((name, k) => (node.opType === 'Resize' && k > 0 ? name : half(name)));
    for (const attribute of node.attribute) retypeResult(node, attribute, FLOAT, FLOAT16);
    node.output = node.output.map((name) => (outputs.has(name) ? derived(name, 'float16') : name));
    nodes.push(node);
  }
  for (const name of outputs) {
    // Other nodes that read an output read its half-precision value.
    const inner = derived(name, 'float16');
    for (const node of nodes) node.input = node.input.map((input) => (input === name ? inner : input));
    nodes.push(castNode(inner, name, FLOAT));
  }
  graph.node = nodes;
  graph.valueInfo = [];
  return undefined;
}

/** Whether most of a graph's weights are stored in half precision, so that computing in it loses little. */
export function storedInHalf({ initializer }: GraphProto): boolean {
  const size = ({ dims }: TensorProto) => sizeOf(dims.map(Number));
  const total = (type: number) =>
    initializer.reduce((sum, tensor) => sum + (tensor.dataType === type ? size(tensor) : 0), 0);
  return total(FLOAT16) > total(FLOAT);
}

/** Nodes that depend on no input except for its shape, and those of their results that are float32. */
function ofConstants(graph: GraphProto): { readonly nodes: Set<NodeProto>; readonly floats: Set<string> } {
  const nodes = new Set<NodeProto>();
  const floats = new Set(graph.initializer.filter(({ dataType }) => dataType === FLOAT).map(({ name }) => name));
  const known = new Set(['', ...graph.initializer.map(({ name }) => name)]);
  for (const node of graph.node) {
    if (node.opType !== 'Shape' && !node.input.every((name) => known.has(name))) continue;
    nodes.add(node);
    for (const name of node.output) {
      known.add(name);
      if (isFloat(node, floats)) floats.add(name);
    }
  }
  return { nodes, floats };
}

function isFloat(node: NodeProto, floats: ReadonlySet<string>): boolean {
  switch (node.opType) {
    case 'Constant':
      return valueOf(node)?.dataType === FLOAT || node.attribute.some(({ name }) => /^value_floats?$/.test(name));
    case 'Cast':
      return node.attribute.some(({ name, i }) => name === 'to' && Number(i) === FLOAT);
    case 'ConstantOfShape':
      return (valueOf(node)?.dataType ?? FLOAT) === FLOAT;
    case 'Shape':
    case 'Equal':
      return false;
    default:
      return floats.has(node.input[0]);
  }
}

/** Nodes that lead to a sine or cosine. */
function leadingToPhases({ node: nodes }: GraphProto): Set<NodeProto> {
  const maker = new Map(nodes.flatMap((node) => node.output.map((name) => [name, node] as const)));
  const found = new Set<NodeProto>();
  const follow = nodes.filter(isPhase);
  for (const node of follow) {
    if (found.has(node)) continue;
    found.add(node);
    for (const input of node.input) {
      const before = maker.get(input);
      if (before) follow.push(before);
    }
  }
  return found;
}

function isPhase({ opType }: NodeProto): boolean {
  return opType === 'Sin' || opType === 'Cos';
}
