import type { GraphProto, NodeProto } from 'onnx-buf';
import { GraphView } from '../graphView.js';
import { replaceNodes } from '../operators.js';
import { derived } from '../../nodes.js';
import { kernelNode } from './domain.js';
import { biasedProduct, termsOfSum } from './terms.js';
import { channelsLast, channelsSecond } from './transposes.js';

/**
 * Replaces sums of a convolution or a product, its bias and another value by one operator.
 * @returns the number of replaced sums
 */
export function addAtOnce(graph: GraphProto): number {
  return addImages(graph) + addTokens(graph);
}

/** Sums of [rows, channels, height, width]. */
function addImages(graph: GraphProto): number {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  let count = 0;
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
    count++;
  }
  replaceNodes(graph, replaced);
  return count;
}

/** Sums of [rows, tokens, channels]: a product and its bias, and a residual if nothing else uses their sum. */
function addTokens(graph: GraphProto): number {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  for (const sum of graph.node) {
    const biased = view.rank(sum.output[0]) === 3 ? biasedProduct(sum, view) : undefined;
    if (!biased) continue;
    const user = view.onlyUser(sum.output[0]);
    const residual = user?.opType === 'Add' ? user.input.find((input) => input !== sum.output[0]) : undefined;
    const isWhole =
      residual !== undefined && view.rank(residual) === 3 && view.width(residual) === view.width(biased.product);
    const last = isWhole && user && !replaced.has(user) ? user : sum;
    replaced.set(sum, []);
    replaced.set(last, [
      kernelNode('Sum', [biased.product, biased.bias, last === user ? residual : undefined], last.output),
    ]);
  }
  replaceNodes(graph, replaced);
  return replaced.size;
}
