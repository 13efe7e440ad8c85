import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProtoSchema,
  type GraphProto,
  type ModelProto,
  type NodeProto,
} from 'onnx-buf';
import type { Fused } from '../engine.js';
import { FLOAT, hasInnerGraphs } from './constants.js';
import { GraphView, integerOf, permutation } from './graphView.js';
import { integer, node, real } from './nodes.js';

/** ONNX Runtime's own operators. */
const CONTRIB = 'com.microsoft';
/** 1 in half precision. */
const HALF_ONE = 0x3c00;
/** The first opset with LayerNormalization. */
const LAYER_NORM_OPSET = 17;

/**
 * Writes attention and group normalization with the operators that ONNX Runtime has fast kernels for; its own optimizer does
 * not see them in the UNets that torch exports. What is not seen to be one of them, whatever the sizes of the inputs, stays as it is.
 */
export function fuse(model: ModelProto): Fused | undefined {
  const { graph, opsetImport } = model;
  if (!graph || hasInnerGraphs(graph)) return undefined;
  const opset = Number(opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')?.version ?? 0);
  const normalizations = opset >= LAYER_NORM_OPSET ? normalizeByLayers(graph) : 0;
  const attentions = attendAtOnce(graph);
  if (attentions > 0 && !opsetImport.some(({ domain }) => domain === CONTRIB)) {
    opsetImport.push(create(OperatorSetIdProtoSchema, { domain: CONTRIB, version: 1n }));
  }
  return attentions + normalizations > 0 ? { attentions, normalizations } : undefined;
}

/**
 * Attention as one operator that never holds the matrix of scores (Dao et al. 2022):
 *
 *     Softmax((s q) (s' k)^T) v  with q, k, v split into heads by Reshape and Transpose
 *
 * becomes MultiHeadAttention of s s' q, k and v. The nodes that split are left to whoever else needs their shapes.
 * @returns how many there were
 */
function attendAtOnce(graph: GraphProto): number {
  const view = new GraphView(graph);
  const before = new Map<NodeProto, readonly NodeProto[]>();
  for (const softmax of graph.node.filter(({ opType }) => opType === 'Softmax')) {
    const found = attentionAround(softmax, view);
    if (!found) continue;
    const { q, k, v, merged } = found;
    const name = (part: string) => `${softmax.output[0]}/${part}`;
    const scales = [q.scale, k.scale].filter((scale) => scale !== undefined);
    const scale = scales.length === 2 ? name('scale') : scales.at(0);
    const query = scale === undefined ? q.whole : name('query');
    before.set(merged, [
      ...(scales.length === 2 ? [node('Mul', scales, name('scale'))] : []),
      ...(scale === undefined ? [] : [node('Mul', [q.whole, scale], query)]),
      node('MultiHeadAttention', [query, k.whole, v.whole], name('attended'), {
        domain: CONTRIB,
        attribute: [integer('num_heads', q.heads), real('scale', 1)],
      }),
    ]);
  }
  graph.node = withoutUnused(
    graph,
    graph.node.flatMap((one) => {
      const attention = before.get(one);
      if (attention) one.input[0] = attention[attention.length - 1].output[0];
      return [...(attention ?? []), one];
    }),
  );
  return before.size;
}

/** What is left of nodes in their order if those go that nothing depends on. */
function withoutUnused(graph: GraphProto, nodes: readonly NodeProto[]): NodeProto[] {
  const used = new Set(graph.output.map(({ name }) => name));
  const kept: NodeProto[] = [];
  for (const one of nodes.toReversed()) {
    if (!one.output.some((name) => used.has(name))) continue;
    kept.push(one);
    for (const name of one.input) used.add(name);
  }
  return kept.reverse();
}

/** One of the factors of attention. */
interface Factor {
  /** [rows, length, heads * size], before it is split. */
  readonly whole: string;
  readonly heads: number;
  /** A number that it is multiplied by. */
  readonly scale: string | undefined;
}

interface Attention {
  readonly q: Factor;
  readonly k: Factor;
  readonly v: Factor;
  /** The Reshape that puts the heads together again. */
  readonly merged: NodeProto;
}

function attentionAround(softmax: NodeProto, view: GraphView): Attention | undefined {
  const scores = view.maker(softmax.input[0]);
  const weighted = view.onlyUser(softmax.output[0]);
  if (scores?.opType !== 'MatMul' || weighted?.opType !== 'MatMul' || weighted.input[0] !== softmax.output[0]) return;
  // Without one it depends on the opset.
  if (![-1, 3].includes(integerOf(softmax, 'axis') ?? NaN)) return;
  const q = factor(scores.input[0], '0,2,1,3', view);
  const k = factor(scores.input[1], '0,2,3,1', view);
  const v = factor(weighted.input[1], '0,2,1,3', view);
  const transposed = view.onlyUser(weighted.output[0]);
  if (!q || !k || !v || v.scale !== undefined || permutation(transposed) !== '0,2,1,3') return;
  const merged = transposed && view.onlyUser(transposed.output[0]);
  if (merged?.opType !== 'Reshape' || q.heads !== k.heads || q.heads !== v.heads) return;
  // An entry of 0 there would mean the heads' number or size, which are one axis then.
  if (view.entries(merged.input[1])?.slice(2).includes(0) !== false) return;
  return { q, k, v, merged };
}

/** Follows a factor back to where it is split. @param order of its axes, of [rows, length, heads, size] */
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

/**
 * Group normalization before its scale and shift, as torch exports it: InstanceNormalization of [rows, groups, rest] with ones and
 * zeros. LayerNormalization over the rest is the same in one kernel instead of several.
 * @returns how many there were
 */
function normalizeByLayers(graph: GraphProto): number {
  const view = new GraphView(graph);
  let count = 0;
  graph.node = graph.node.flatMap((one) => {
    const [x, scale, shift] = one.input;
    const reshape = one.opType === 'InstanceNormalization' ? view.maker(x) : undefined;
    if (reshape?.opType !== 'Reshape' || view.numbers(reshape.input[1])?.length !== 3) return one;
    const isAll = (name: string, value: number) => {
      const numbers = view.numbers(name);
      return numbers !== undefined && numbers.length > 0 && numbers.every((number) => number === value);
    };
    if (!isAll(scale, 1) || !isAll(shift, 0)) return one;
    count++;
    const name = (part: string) => `${one.output[0]}/${part}`;
    const dataType = view.constants.get(scale)?.dataType ?? FLOAT;
    const value = dataType === FLOAT ? { floatData: [1] } : { int32Data: [HALF_ONE] };
    return [
      node('Shape', [x], name('rest'), { attribute: [integer('start', 2), integer('end', 3)] }),
      node('ConstantOfShape', [name('rest')], name('ones'), {
        attribute: [
          create(AttributeProtoSchema, {
            name: 'value',
            type: AttributeProto_AttributeType.TENSOR,
            t: create(TensorProtoSchema, { dataType, dims: [1n], ...value }),
          }),
        ],
      }),
      node('LayerNormalization', [x, name('ones')], one.output[0], {
        attribute: [integer('axis', -1), ...one.attribute.filter(({ name }) => name === 'epsilon')],
      }),
    ];
  });
  return count;
}
