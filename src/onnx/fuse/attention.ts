import type { GraphProto, NodeProto } from 'onnx-buf';
import { derived, integer, node, real } from '../nodes.js';
import { integerOf, permutation } from './attributes.js';
import { GraphView } from './graphView.js';
import { CONTRIB, replaceNodes } from './operators.js';
import { singleNumber } from './singleNumber.js';

/**
 * Fuses attention into one operator, which never stores the matrix of scores (Dao et al. 2022):
 *
 *     Softmax((s q) (s' k)^T) v  with q, k, v split into heads by Reshape and Transpose
 *
 * becomes MultiHeadAttention of q, k and v with scale s s', or of s s' q if s or s' is not known. The splitting nodes stay if other nodes use their shapes.
 * @returns the number of fused attentions
 */
export function attendAtOnce(graph: GraphProto): number {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  for (const softmax of graph.node.filter(({ opType }) => opType === 'Softmax')) {
    const found = attentionAround(softmax, view);
    if (!found) continue;
    const { q, k, v, merged } = found;
    const name = (part: string) => derived(softmax.output[0], part);
    const all = [q.scale, k.scale].filter((scale) => scale !== undefined);
    const numbers = all.map((scale) => singleNumber(scale, view) ?? NaN);
    const product = Math.fround(numbers.reduce((a, b) => a * b, 1));
    // A scale that is not known is multiplied at run time; to the operator, 0 is the default.
    const scales = product > 0 && product < Infinity ? [] : all;
    const scale = scales.length === 2 ? name('scale') : scales.at(0);
    const query = scale === undefined ? q.whole : name('query');
    replaced.set(merged.made, [
      ...(scales.length === 2 ? [node('Mul', scales, name('scale'))] : []),
      ...(scale === undefined ? [] : [node('Mul', [q.whole, scale], query)]),
      node('MultiHeadAttention', [query, k.whole, v.whole], merged.keeps ? merged.made.output[0] : name('attended'), {
        domain: CONTRIB,
        attribute: [integer('num_heads', q.heads), real('scale', scales.length > 0 ? 1 : product)],
      }),
      ...(merged.keeps ? [] : [merged.made]),
    ]);
    if (!merged.keeps) merged.made.input[0] = name('attended');
  }
  replaceNodes(graph, replaced);
  return replaced.size;
}

/** One of query, key and value. */
interface Factor {
  /** The value before it is split, [rows, length, heads * size]. */
  readonly whole: string;
  readonly heads: number;
  /** Name of a single number that multiplies it. */
  readonly scale: string | undefined;
}

interface Attention {
  readonly q: Factor;
  readonly k: Factor;
  readonly v: Factor;
  /** The Reshape that merges the heads, and whether it does nothing else. */
  readonly merged: { readonly made: NodeProto; readonly keeps: boolean };
}

function attentionAround(softmax: NodeProto, view: GraphView): Attention | undefined {
  const scores = view.maker(softmax.input[0]);
  const weighted = view.onlyUser(softmax.output[0]);
  if (scores?.opType !== 'MatMul' || weighted?.opType !== 'MatMul' || weighted.input[0] !== softmax.output[0]) return;
  // The default axis depends on the opset.
  if (![-1, 3].includes(integerOf(softmax, 'axis') ?? NaN)) return;
  const q = factor(scores.input[0], '0,2,1,3', view);
  const k = factor(scores.input[1], '0,2,3,1', view);
  const v = factor(weighted.input[1], '0,2,1,3', view);
  const transposed = view.onlyUser(weighted.output[0]);
  if (!q || !k || !v || v.scale !== undefined || permutation(transposed) !== '0,2,1,3') return;
  const merged = transposed && view.onlyUser(transposed.output[0]);
  if (merged?.opType !== 'Reshape' || q.heads !== k.heads || q.heads !== v.heads) return;
  // MatMul would broadcast different numbers of rows.
  const [rows, ...others] = [q, k, v].map(({ whole }) => view.leading(whole));
  if (rows === undefined || others.some((other) => other !== rows)) return;
  const [, shape] = merged.input;
  const entries = view.entries(shape);
  // An entry of 0 would copy the number or size of the heads, which are merged in one axis.
  if (entries?.slice(2).includes(0) !== false) return;
  const [first, length, width, ...more] = entries;
  const isRow = first === 0 || view.isLeading(shape, q.whole);
  const keeps = isRow && (length === -1 || length === 0) && width === view.width(v.whole) && more.length === 0;
  return { q, k, v, merged: { made: merged, keeps } };
}

/** Follows a factor back to where it is split. @param order of its axes, as indices of [rows, length, heads, size] */
function factor(name: string, order: string, view: GraphView): Factor | undefined {
  let made = view.maker(name);
  let scale: string | undefined;
  if (made?.opType === 'Mul') {
    const [a, b] = made.input;
    const [scaled, by] = view.maker(a)?.opType === 'Transpose' ? [a, b] : [b, a];
    if (!view.isSingle(by)) return undefined;
    scale = by;
    made = view.maker(scaled);
  }
  let axes = [0, 1, 2, 3];
  while (made?.opType === 'Transpose') {
    const permuted = permutation(made)?.split(',').map(Number);
    if (permuted?.length !== 4) return undefined;
    axes = axes.map((axis) => permuted[axis]);
    made = view.maker(made.input[0]);
  }
  if (made?.opType !== 'Reshape' || axes.join() !== order) return undefined;
  const [whole, shape] = made.input;
  // [rows, length, width] -> [rows, length, heads, width / heads], and nothing else.
  const [rows, length, heads, size, ...more] = view.entries(shape) ?? [];
  const splits = heads !== undefined && size !== undefined && heads * size === view.width(whole);
  const keeps = (rows === 0 || view.isLeading(shape, whole)) && (length === -1 || length === 0);
  return splits && keeps && more.length === 0 && view.rank(whole) === 3 ? { whole, heads, scale } : undefined;
}
