import type { NodeProto } from 'onnx-buf';
import { permutation } from '../attributes.js';
import type { GraphView } from '../graphView.js';
import { axisOf } from '../rank.js';
import { biasOf, dividesByOne } from '../residuals.js';
import { derived, node } from '../../nodes.js';

/** The terms of a sum of four axes, or of one value alone. */
export interface Terms {
  /** The first term; without its bias, if the node that makes it has lost it. */
  readonly x: string;
  /** A constant of [channels]. */
  readonly bias: string | undefined;
  /** [rows, channels, 1, 1]. */
  readonly addend: string | undefined;
  /** As x. */
  readonly residual: string | undefined;
  /** Further channels, behind those of the sum. */
  readonly rest: string | undefined;
  /** What replaces nodes that the terms make unnecessary or change. */
  readonly replaced: ReadonlyMap<NodeProto, readonly NodeProto[]>;
}

/** A value alone. */
export function singleTerm(x: string): Terms {
  return { x, bias: undefined, addend: undefined, residual: undefined, rest: undefined, replaced: new Map() };
}

/** A value whose bias can be added later, and the node without it. */
interface Unbiased {
  readonly name: string;
  readonly bias: string;
  readonly replaced: readonly (readonly [NodeProto, readonly NodeProto[]])[];
}

/**
 * The terms of a value of [rows, channels, height, width]: of the sum that makes it, or of the first of two values that are concatenated,
 * as far as nothing else uses its parts, and of the convolutions and products in it, whose biases become a term.
 */
export function termsOf(name: string, view: GraphView): Terms {
  const made = view.maker(name);
  const joins =
    made?.opType === 'Concat' && new Set(made.input).size === 2 && made.input.length === 2 && axisOf(made, view) === 1;
  if (!joins) return termsOfSum(name, view);
  const [first, rest] = made.input;
  const terms = view.onlyUser(first) ? termsOfSum(first, view) : singleTerm(first);
  return { ...terms, rest, replaced: new Map([...terms.replaced, [made, []]]) };
}

/** The terms of a sum. */
export function termsOfSum(name: string, view: GraphView): Terms {
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  const biases: string[] = [];
  /** The value without its bias, which becomes a term. */
  const unbiased = (value: string): string => {
    // The value of the terms itself is the sum that the operator returns.
    const found = value === name || view.onlyUser(value) ? withoutBias(value, view) : undefined;
    if (!found) return value;
    for (const [made, by] of found.replaced) replaced.set(made, by);
    biases.push(found.bias);
    return found.name;
  };
  const sum = sumOf(name, view);
  const [x, residual] = sum?.whole.map(unbiased) ?? [unbiased(name)];
  sum?.nodes.forEach((one) => replaced.set(one, []));
  const bias = biases.length === 2 ? derived(name, 'bias') : biases.at(0);
  if (biases.length === 2 && sum) replaced.set(sum.nodes[0], [node('Add', biases, derived(name, 'bias'))]);
  return { x, residual, bias, addend: sum?.addend, rest: undefined, replaced };
}

/** The sum that makes a value: one or two terms of its shape, and one that is spread over its pixels. */
function sumOf(
  name: string,
  view: GraphView,
):
  | { readonly whole: readonly string[]; readonly addend: string | undefined; readonly nodes: readonly NodeProto[] }
  | undefined {
  const made = view.maker(name);
  if (made && dividesByOne(made, view) && view.onlyUser(made.input[0])) {
    const divided = sumOf(made.input[0], view);
    return divided && { ...divided, nodes: [...divided.nodes, made] };
  }
  if (made?.opType !== 'Add') return undefined;
  const spread = made.input.find((input) => isSpread(input, view));
  const whole = made.input.filter((input) => input !== spread);
  if (whole.some((input) => view.rank(input) !== 4 || view.weight(input))) return undefined;
  return { whole, addend: spread, nodes: [made] };
}

/** Whether a value is of [rows, channels, 1, 1]. */
function isSpread(name: string, view: GraphView): boolean {
  const made = view.maker(name);
  if (made?.opType === 'Unsqueeze') {
    const [inner, axes] = made.input;
    const numbers = view.numbers(axes)?.join();
    const before = view.maker(inner);
    if (numbers === '2,3') return view.rank(inner) === 2;
    return numbers === '3' && before?.opType === 'Unsqueeze' && view.numbers(before.input[1])?.join() === '2';
  }
  // Projections that were merged are spread before they are split.
  const spread = made?.opType === 'Split' ? view.maker(made.input[0]) : undefined;
  return spread?.opType === 'Reshape' && view.numbers(spread.input[1])?.slice(2).join() === '1,1';
}

/** A convolution, or a product that became an image, without its bias; undefined if it has none. */
function withoutBias(name: string, view: GraphView): Unbiased | undefined {
  const made = view.maker(name);
  if (!made) return undefined;
  if (made.opType === 'Conv') {
    const [x, weight, bias = ''] = made.input;
    if (bias === '' || view.weight(bias)?.dims.length !== 1) return undefined;
    const without = derived(name, 'without bias');
    const { attribute } = made;
    return { name: without, bias, replaced: [[made, [node('Conv', [x, weight], without, { attribute })]]] };
  }
  const reshape = permutation(made) === '0,3,1,2' ? view.maker(made.input[0]) : undefined;
  const sum = reshape?.opType === 'Reshape' && view.onlyUser(made.input[0]) ? view.maker(reshape.input[0]) : undefined;
  const biased = reshape && sum && view.onlyUser(reshape.input[0]) ? biasedProduct(sum, view) : undefined;
  if (!reshape || !sum || !biased) return undefined;
  const [shaped, moved] = [derived(name, 'shaped'), derived(name, 'without bias')];
  return {
    name: moved,
    bias: biased.bias,
    replaced: [
      [sum, []],
      [reshape, []],
      [
        made,
        [
          node('Reshape', [biased.product, reshape.input[1]], shaped, { attribute: reshape.attribute }),
          node('Transpose', [shaped], moved, { attribute: made.attribute }),
        ],
      ],
    ],
  };
}

/** The product and the bias of a sum of both, if nothing else uses the product. */
export function biasedProduct(
  sum: NodeProto,
  view: GraphView,
): { readonly product: string; readonly bias: string } | undefined {
  const bias = biasOf(sum, view);
  const product = sum.input.find((input) => input !== bias);
  const isFound = bias !== undefined && product !== undefined && view.onlyUser(product);
  return isFound ? { product, bias } : undefined;
}
