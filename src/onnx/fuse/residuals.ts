import type { GraphProto, NodeProto } from 'onnx-buf';
import { derived, node, real, wholeNumbers } from '../nodes.js';
import { epsilonOf, integerOf } from './attributes.js';
import { GraphView } from './graphView.js';
import { CONTRIB, replaceNodes } from './operators.js';

/**
 * Fuses x + bias + residual and the LayerNormalization after it, as between the blocks of a transformer, into one operator that
 * returns the sum too.
 * @returns the number of fused normalizations
 */
export function normalizeResiduals(graph: GraphProto): number {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  let count = 0;
  for (const norm of graph.node.filter(({ opType }) => opType === 'LayerNormalization')) {
    const sum = view.maker(norm.input[0]);
    const terms = sum?.opType === 'Add' && !replaced.has(sum) ? termsOf(sum, view) : undefined;
    if (!sum || !terms || !isOfWidth(norm, view)) continue;
    const fused = node('SkipLayerNormalization', [terms.x, terms.residual, ...norm.input.slice(1)], norm.output[0], {
      domain: CONTRIB,
      // The default of this operator differs from LayerNormalization's.
      attribute: [real('epsilon', epsilonOf(norm))],
    });
    if (terms.bias !== undefined) fused.input.push(terms.bias);
    fused.output.push('', '', sum.output[0]);
    replaced.set(sum, []).set(norm, [fused]);
    count++;
  }
  replaceNodes(graph, replaced);
  return count;
}

/** Whether a node normalizes the last of three axes, with a scale and a shift of that length. */
function isOfWidth(norm: NodeProto, view: GraphView): boolean {
  const [x, ...affine] = norm.input;
  const isLong = (name: string) => view.weight(name)?.dims.join() === String(view.width(x));
  // The fused operator returns no mean or deviation.
  if (norm.output.length > 1) return false;
  return [-1, 2].includes(integerOf(norm, 'axis') ?? -1) && affine.length === 2 && affine.every(isLong);
}

/** The terms of a sum, if both have the same three axes, and the bias of the first, if any. */
function termsOf(
  sum: NodeProto,
  view: GraphView,
): { readonly x: string; readonly residual: string; readonly bias: string | undefined } | undefined {
  const [a, b] = sum.input;
  const alike = [view.rank, view.width, view.origin].every((of) => of(a) === of(b));
  if (!alike || view.rank(a) !== 3 || view.width(a) === undefined) return undefined;
  const first = biased(a, view);
  return first ? { ...first, residual: b } : { ...(biased(b, view) ?? { x: b, bias: undefined }), residual: a };
}

/** A product and its bias, if nothing else uses their sum. */
function biased(name: string, view: GraphView): { readonly x: string; readonly bias: string } | undefined {
  const made = view.maker(name);
  if (!made || !view.onlyUser(name)) return undefined;
  if (made.opType === 'Div') return dividesByOne(made, view) ? biased(made.input[0], view) : undefined;
  const bias = biasOf(made, view);
  const x = made.input.find((input) => input !== bias);
  return bias === undefined || x === undefined ? undefined : { x, bias };
}

/** Whether a node divides by 1. diffusers divides by a factor that is 1 in almost all models. */
export function dividesByOne({ opType, input }: NodeProto, view: GraphView): boolean {
  return opType === 'Div' && view.numbers(input[1])?.join() === '1';
}

/**
 * Gives biases three axes. ONNX Runtime turns a product and a bias of one axis into a Gemm between two Reshapes, which takes
 * longer to launch than product and sum.
 */
export function keepSums(graph: GraphProto): void {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  for (const sum of graph.node.filter(({ opType }) => opType === 'Add')) {
    const bias = biasOf(sum, view);
    if (bias === undefined || view.rank(sum.output[0]) !== 3) continue;
    const [shape, spread] = [derived(sum.output[0], 'shape'), derived(sum.output[0], 'bias')];
    sum.input = sum.input.map((input) => (input === bias ? spread : input));
    replaced.set(sum, [wholeNumbers(shape, [1, 1, -1]), node('Reshape', [bias, shape], spread), sum]);
  }
  replaceNodes(graph, replaced);
}

/** The bias of a product: a constant of one axis, as long as the product has columns, that is added to it. */
export function biasOf({ opType, input }: NodeProto, view: GraphView): string | undefined {
  if (opType !== 'Add') return undefined;
  return input.find((bias, k) => {
    const product = view.maker(input[1 - k]);
    const dims = view.weight(bias)?.dims;
    return product?.opType === 'MatMul' && dims?.join() === String(view.width(input[1 - k]));
  });
}
