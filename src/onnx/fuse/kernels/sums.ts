import type { GraphProto, NodeProto } from 'onnx-buf';
import { GraphView } from '../graphView.js';
import { replaceNodes } from '../operators.js';
import { derived } from '../../nodes.js';
import { kernelNode } from './domain.js';
import { biasedProduct, termsOfSum } from './terms.js';
import { channelsLast, channelsSecond } from './transposes.js';

/** Replaces sums of a convolution or a product, its bias and another value by one operator. */
export function addAtOnce(graph: GraphProto): void {
  addImages(graph);
  addTokens(graph);
}

/** Sums of [rows, channels, height, width]. */
function addImages(graph: GraphProto): void {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  for (const { opType, output } of graph.node) {
    const [name] = output;
    if ((opType !== 'Add' && opType !== 'Div') || view.rank(name) !== 4) continue;
    const { x, bias, addend, residual, replaced: parts } = termsOfSum(name, view);
    const isTaken = [...parts.keys()].some((one) => replaced.has(one));
    if (bias === undefined || addend !== undefined || residual === undefined || isTaken) continue;
    const [whole, rest] = [x, residual].map((term) => channelsLast(term, view));
    const sum = derived(name, 'sum');
    const last = view.maker(name);
    if (!last) continue;
    for (const [one, by] of parts) replaced.set(one, by);
    const node = kernelNode('Sum', [whole.name, bias, rest.name], [sum]);
    replaced.set(last, [...(parts.get(last) ?? []), ...whole.nodes, ...rest.nodes, node, channelsSecond(sum, name)]);
  }
  replaceNodes(graph, replaced);
}

/**
 * Sums of [rows, tokens, channels]: a product, its bias and a residual. Without a residual, only before a normalization: ONNX Runtime
 * fuses a bias with the activation after it.
 */
function addTokens(graph: GraphProto): void {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  for (const sum of graph.node) {
    const [name] = sum.output;
    const biased = view.rank(name) === 3 ? biasedProduct(sum, view) : undefined;
    if (!biased) continue;
    const residual = residualOf(name, biased.product, view);
    const last = residual && !replaced.has(residual.sum) ? residual.sum : sum;
    const isNormalized = view.usersOf(name).some(({ opType }) => opType === 'LayerNormalization');
    if (last === sum && !isNormalized) continue;
    replaced.set(sum, []);
    const terms = [biased.product, biased.bias, last === sum ? undefined : residual?.name];
    replaced.set(last, [kernelNode('Sum', terms, last.output)]);
  }
  replaceNodes(graph, replaced);
}

/** What is added to a value, if nothing else uses the value, and the sum. */
function residualOf(
  name: string,
  like: string,
  view: GraphView,
): { readonly name: string; readonly sum: NodeProto } | undefined {
  const sum = view.onlyUser(name);
  if (sum?.opType !== 'Add') return undefined;
  const residual = sum.input.find((input) => input !== name);
  // A constant would have to be spread over the rows.
  const isAlike = (other: string) =>
    view.rank(other) === 3 && view.width(other) === view.width(like) && !view.weight(other);
  return residual !== undefined && isAlike(residual) ? { name: residual, sum } : undefined;
}
