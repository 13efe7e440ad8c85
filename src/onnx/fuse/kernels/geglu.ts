import type { GraphProto, NodeProto } from 'onnx-buf';
import { integerOf } from '../attributes.js';
import { GraphView } from '../graphView.js';
import { replaceNodes } from '../operators.js';
import { singleNumber } from '../singleNumber.js';
import { kernelNode } from './domain.js';
import { biasedProduct } from './terms.js';

/** Largest relative error of a constant in float32 or float16. */
const TOLERANCE = 1e-3;

/** Replaces a gelu(b) of the halves a, b of one projection (Shazeer 2020: GEGLU), and its bias, by one operator. */
export function gateAtOnce(graph: GraphProto): void {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  for (const made of graph.node.filter(({ opType }) => opType === 'Mul')) {
    const projected = gatedProjection(made, view);
    if (projected === undefined) continue;
    const sum = view.maker(projected);
    const biased = sum && biasedProduct(sum, view);
    const inputs = biased ? [biased.product, biased.bias] : [projected];
    replaced.set(made, [kernelNode('Geglu', inputs, made.output)]);
  }
  replaceNodes(graph, replaced);
}

/** The value whose first half is multiplied by the gelu of its second. */
function gatedProjection(made: NodeProto, view: GraphView): string | undefined {
  for (const [linear, gated] of [made.input, made.input.toReversed()]) {
    const gate = geluOf(gated, view);
    const parts = gate === undefined ? undefined : [view.maker(linear), view.maker(gate)];
    const whole = parts?.[0]?.input[0];
    if (!parts || whole === undefined || parts[1]?.input[0] !== whole) continue;
    const width = view.width(whole);
    // The next product takes what half of the width is, so the parts are halves.
    const next = view.onlyUser(made.output[0]);
    const isHalf = next?.opType === 'MatMul' && (view.weight(next.input[1])?.dims[0] ?? 0) * 2 === width;
    const areParts = isSplit(parts[0], linear, gate, view) || areSlices(parts[0], parts[1], view);
    if (isHalf && areParts) return whole;
  }
  return undefined;
}

/** Whether a node splits its last axis into two values, in this order. */
function isSplit(made: NodeProto | undefined, first: string, second: string | undefined, view: GraphView): boolean {
  return (
    made?.opType === 'Split' &&
    isLastAxis(integerOf(made, 'axis'), made, view) &&
    made.output.join() === `${first},${second}`
  );
}

/** Whether a slice of the last axis begins where another one, from the start, ends. */
function areSlices(first: NodeProto | undefined, second: NodeProto | undefined, view: GraphView): boolean {
  if (first?.opType !== 'Slice' || second?.opType !== 'Slice') return false;
  const onLast = [first, second].every((one) => {
    const [axisNames = '', stepNames = ''] = one.input.slice(3);
    const axes = view.numbers(axisNames);
    const steps = stepNames === '' ? [1] : view.numbers(stepNames);
    return axes?.length === 1 && isLastAxis(axes[0], one, view) && steps?.join() === '1';
  });
  return onLast && view.numbers(first.input[1])?.join() === '0' && first.input[2] === second.input[1];
}

function isLastAxis(axis: number | undefined, { input: [x] }: NodeProto, view: GraphView): boolean {
  const rank = view.rank(x);
  return axis === -1 || (rank !== undefined && axis === rank - 1);
}

/** The value whose exact gelu another value is: x (1 + erf(x / sqrt(2))) / 2, its factors in any order. */
function geluOf(name: string, view: GraphView): string | undefined {
  const made = view.maker(name);
  if (made?.opType === 'Gelu')
    return made.attribute.some(({ s }) => Buffer.from(s).toString() === 'tanh') ? undefined : made.input[0];
  const factors = factorsOf(name, view);
  const rest: string[] = [];
  let [number, x]: [number, string | undefined] = [1, undefined];
  for (const factor of factors) {
    const known = view.isSingle(factor) ? singleNumber(factor, view) : undefined;
    const shifted = known === undefined ? erfOf(factor, view) : undefined;
    if (known !== undefined) number *= known;
    else if (shifted !== undefined && x === undefined) x = shifted;
    else rest.push(factor);
  }
  return x !== undefined && rest.join() === x && isNear(number, 0.5) ? x : undefined;
}

/** The factors of a product of products that nothing else uses. */
function factorsOf(name: string, view: GraphView): string[] {
  const made = view.maker(name);
  if (made?.opType !== 'Mul' || !view.onlyUser(name)) return [name];
  return made.input.flatMap((factor) => factorsOf(factor, view));
}

/** x of erf(x / sqrt(2)) + 1. */
function erfOf(name: string, view: GraphView): string | undefined {
  const sum = view.maker(name);
  const erf =
    sum?.opType === 'Add'
      ? sum.input.map((term) => view.maker(term)).find((term) => term?.opType === 'Erf')
      : undefined;
  const one = erf && sum?.input.find((term) => term !== erf.output[0]);
  const scaled = erf && view.maker(erf.input[0]);
  if (one === undefined || singleNumber(one, view) !== 1 || !scaled) return undefined;
  const [x, by = ''] = scaled.input;
  const number = singleNumber(by, view) ?? NaN;
  const isScaled =
    scaled.opType === 'Div' ? isNear(number, Math.SQRT2) : scaled.opType === 'Mul' && isNear(number, Math.SQRT1_2);
  return isScaled ? x : undefined;
}

function isNear(value: number, expected: number): boolean {
  return Math.abs(value - expected) <= TOLERANCE * expected;
}
