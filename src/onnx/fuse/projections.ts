import type { GraphProto, NodeProto } from 'onnx-buf';
import { derived, integer, node, wholeNumbers } from '../nodes.js';
import { integerOf } from './attributes.js';
import { GraphView } from './graphView.js';
import { replaceNodes } from './operators.js';

/** Projections of one input that are worth merging. Query, key and value of a layer are three, and too large to gain from it. */
const MIN_PROJECTIONS = 4;
/** Operators whose equal inputs and attributes give equal results. */
const PURE = new Set(['Cast', 'Identity', 'Mul', 'Sigmoid']);

/**
 * Merges projections of one input into one product followed by a Split: the keys and values that all layers compute from the text,
 * and what all layers compute from the timestep.
 * @returns the number of merged products
 */
export function projectAtOnce(graph: GraphProto): number {
  const view = new GraphView(graph);
  const first = firstEquals(graph);
  const groups = new Map<string, Projection[]>();
  for (const one of graph.node) {
    const projection = projectionOf(one, view);
    if (!projection) continue;
    const [input] = one.input;
    const key = JSON.stringify([first.get(input) ?? input, one.opType, projection.axis, projection.dataType]);
    groups.set(key, [...(groups.get(key) ?? []), projection]);
  }
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  const together = [...groups.values()].filter(({ length }) => length >= MIN_PROJECTIONS);
  for (const group of together) {
    const ends = group.map(({ made }) => unsqueezed(made.output[0], view));
    // The results get further axes together only if all get equally many.
    const axes = new Set(ends.map(({ nodes }) => nodes.length)).size === 1 ? ends[0].nodes.length : 0;
    for (const [k, { made }] of group.entries()) {
      replaced.set(made, []);
      if (axes > 0) for (const one of ends[k].nodes) replaced.set(one, []);
    }
    const outputs = group.map(({ made }, k) => (axes > 0 ? ends[k].name : made.output[0]));
    replaced.set(group[0].made, atOnce(group, outputs, axes));
  }
  replaceNodes(graph, replaced);
  return together.length;
}

/** Follows a product of two axes through Unsqueezes that append axes of length 1, such as height and width. */
function unsqueezed(name: string, view: GraphView): { readonly name: string; readonly nodes: readonly NodeProto[] } {
  const nodes: NodeProto[] = [];
  let end = name;
  while (view.rank(name) === 2) {
    const user = view.onlyUser(end);
    if (user?.opType !== 'Unsqueeze' || view.numbers(user.input[1])?.join() !== String(2 + nodes.length)) break;
    nodes.push(user);
    [end] = user.output;
  }
  return { name: end, nodes };
}

interface Projection {
  readonly made: NodeProto;
  /** Output axis of the weights. */
  readonly axis: number;
  /** Length of the result's last axis. */
  readonly width: number;
  readonly dataType: number;
}

/** Recognizes a product with a constant weight and, for Gemm, a constant bias. */
function projectionOf(made: NodeProto, view: GraphView): Projection | undefined {
  const [, name, biasName = ''] = made.input;
  const weight = view.weight(name);
  if (weight?.dims.length !== 2) return undefined;
  const { dataType } = weight;
  if (made.opType === 'MatMul') return { made, axis: 1, width: weight.dims[1], dataType };
  const isPlain = made.attribute.every(
    ({ name, i, f }) =>
      name === 'transB' || (name === 'transA' && i === 0n) || ((name === 'alpha' || name === 'beta') && f === 1),
  );
  if (made.opType !== 'Gemm' || !isPlain) return undefined;
  const axis = integerOf(made, 'transB') === 1 ? 0 : 1;
  const width = weight.dims[axis];
  const bias = view.weight(biasName)?.dims;
  return bias?.length === 1 && bias[0] === width ? { made, axis, width, dataType } : undefined;
}

/** @param axes of length 1 to append to the results */
function atOnce(group: readonly Projection[], outputs: string[], axes: number): NodeProto[] {
  const [{ made, axis }] = group;
  const name = (part: string) => derived(made.output[0], part);
  const parts = made.input.slice(1).map((_, k) => name(k === 0 ? 'weights' : 'biases'));
  const all = axes > 0 ? name('spread') : name('all');
  const split = node('Split', [all, name('widths')], name('parts'), {
    attribute: [integer('axis', axes > 0 ? 1 : -1)],
  });
  split.output = outputs;
  const ones = Array.from({ length: axes }, () => 1);
  return [
    ...parts.map((part, k) =>
      node(
        'Concat',
        group.map(({ made }) => made.input[k + 1]),
        part,
        { attribute: [integer('axis', k === 0 ? axis : 0)] },
      ),
    ),
    node(made.opType, [made.input[0], ...parts], name('all'), { attribute: made.attribute }),
    ...(axes > 0
      ? [wholeNumbers(name('shape'), [0, -1, ...ones]), node('Reshape', [name('all'), name('shape')], all)]
      : []),
    wholeNumbers(
      name('widths'),
      group.map(({ width }) => width),
    ),
    split,
  ];
}

/** For each value that repeats an earlier computation, the first equal value: torch exports what layers share once for each layer. */
function firstEquals({ node: nodes }: GraphProto): ReadonlyMap<string, string> {
  const first = new Map<string, string>();
  const known = new Map<string, string>();
  for (const { opType, input, output, attribute } of nodes) {
    if (!PURE.has(opType)) continue;
    const details = attribute.map(({ name, i }) => `${name}=${i}`);
    const key = JSON.stringify([opType, input.map((name) => first.get(name) ?? name), details]);
    const equal = known.get(key);
    if (equal === undefined) known.set(key, output[0]);
    else first.set(output[0], equal);
  }
  return first;
}
