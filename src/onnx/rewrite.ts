import { create } from '@bufbuild/protobuf';
import { TensorShapeProto_DimensionSchema, type GraphProto, type NodeProto } from 'onnx-buf';
import { isShared, type Rewrite } from './graphInfo.js';
import { constantsOf, innerGraphs, numbersOf, type Constants } from './constants.js';

/**
 * Gives an input one value a row instead of one for the batch. Optimum's UNets take a scalar timestep, unsqueeze it to a
 * vector of one element, cast it, and expand it to the batch; a vector of the batch's length can take the same path. If
 * the path has any other operator, the graph stays as it is.
 * @returns the result; undefined if the input has one value a row already, or does not exist
 */
export function rewriteInput(graph: GraphProto, name: string): Rewrite | undefined {
  const type = graph.input.find((input) => input.name === name)?.type?.value;
  if (type?.case !== 'tensorType') return undefined;
  const { shape } = type.value;
  const dims = (shape?.dim ?? []).map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : 'free'));
  if (!shape || dims.length > 1) return undefined;
  // A vector is one value a row, unless it takes the path of a scalar.
  const impossible = (why: string): Rewrite | undefined =>
    isShared({ dims }) ? { status: 'impossible', input: name, why: `${name} ${why}` } : undefined;

  const constants = constantsOf(graph);
  /** Nodes that leave a vector of the batch's length unchanged. */
  const passing: NodeProto[] = [];
  const reached = new Set<string>();
  const follow = [{ value: name, isGiven: true }];
  for (const { value, isGiven } of follow) {
    reached.add(value);
    for (const node of graph.node.filter(({ input }) => input.includes(value))) {
      if (node.opType === 'Cast' || node.opType === 'Identity') follow.push({ value: node.output[0], isGiven });
      else if (isGiven && (dims.length === 0 ? makesVector(node, constants) : makesRow(node, constants))) {
        passing.push(node);
        follow.push({ value: node.output[0], isGiven: false });
      } else if (node.opType !== 'Expand') return impossible(`reaches ${node.opType} before it is expanded`);
      else if (lengthOf(node.input[1], graph, constants) !== 1) return impossible('is expanded to more than the batch');
      else passing.push(node);
    }
  }
  if (graph.output.some((output) => reached.has(output.name))) return impossible('is an output of the graph');
  if (usedInside(graph, reached)) return impossible('is used in a subgraph, on a condition or in a loop');

  const isOneEach = !isShared({ dims }) && passing.every(({ opType }) => opType === 'Expand');
  if (isOneEach) return undefined;

  for (const node of passing) {
    Object.assign(node, { opType: 'Identity', input: node.input.slice(0, 1), attribute: [] });
  }
  shape.dim = [create(TensorShapeProto_DimensionSchema, { value: { case: 'dimParam', value: 'batch_size' } })];
  graph.valueInfo = graph.valueInfo.filter((info) => !reached.has(info.name));
  return { status: 'rewritten', input: name };
}

/** Whether a node turns a scalar into a vector of one element. */
function makesVector(node: NodeProto, constants: Constants): boolean {
  const { opType } = node;
  if (opType !== 'Unsqueeze' && opType !== 'Reshape') return false;
  const axes = axesOf(node, constants);
  const allowed = opType === 'Unsqueeze' ? [0, -1] : [1, -1];
  return axes?.length === 1 && allowed.includes(axes[0]);
}

/** Whether a node turns a vector into a matrix of one row, as the path of a scalar does where the input is declared as a vector. */
function makesRow(node: NodeProto, constants: Constants): boolean {
  return node.opType === 'Unsqueeze' && axesOf(node, constants)?.join() === '0';
}

/** The axes of Unsqueeze, before opset 13 an attribute, or the shape of Reshape. */
function axesOf({ input, attribute }: NodeProto, constants: Constants): number[] | undefined {
  return attribute.find(({ name }) => name === 'axes')?.ints.map(Number) ?? numbersOf(constants.get(input[1]));
}

/** Number of entries of a shape tensor; undefined if the graph does not determine it. */
function lengthOf(name: string | undefined, graph: GraphProto, constants: Constants): number | undefined {
  if (name === undefined) return undefined;
  const constant = constants.get(name);
  if (constant) return constant.dims.length === 1 ? Number(constant.dims[0]) : undefined;
  const node = graph.node.find(({ output }) => output.includes(name));
  const of = (k: number) => lengthOf(node?.input[k], graph, constants);
  switch (node?.opType) {
    case 'Unsqueeze':
      // A scalar, such as the batch's length, becomes a shape of one entry.
      return makesVector(node, constants) ? 1 : undefined;
    case 'Cast':
    case 'Identity':
      return of(0);
    case 'Reshape':
      return numbersOf(constants.get(node.input[1]))?.join() === '-1' ? of(0) : undefined;
    case 'Where':
      return of(2);
    case 'Concat': {
      const lengths = node.input.map((_, k) => of(k));
      return lengths.reduce<number | undefined>(
        (sum, n) => (sum === undefined || n === undefined ? undefined : sum + n),
        0,
      );
    }
    default:
      return undefined;
  }
}

/** Whether a value is used in a subgraph of a node. */
function usedInside(graph: GraphProto, names: ReadonlySet<string>): boolean {
  return graph.node
    .flatMap(innerGraphs)
    .some((part) => part.node.some(({ input }) => input.some((value) => names.has(value))) || usedInside(part, names));
}
