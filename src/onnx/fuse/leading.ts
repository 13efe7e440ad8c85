import type { NodeProto } from 'onnx-buf';
import { isShared } from '../graphInfo.js';
import { integerOf, permutation } from './attributes.js';
import { axisOf } from './rank.js';
import { leadingOfShape, shapeEntries } from './shapeEntries.js';
import { KEEPS_AXES, ROWS, type ShapeFacts } from './shapeFacts.js';

/** Length of a value's first axis, or `ROWS`. */
export function findLeading(name: string, view: ShapeFacts): number | string | undefined {
  const constant = view.weight(name);
  if (constant) return constant.dims.at(0);
  const made = view.maker(name);
  if (!made) {
    const dims = view.inputDims(name);
    // In a bucket all inputs have the same number of rows.
    return !dims || isShared({ dims }) ? undefined : ROWS;
  }
  const [first, second] = made.input;
  if (KEEPS_AXES.has(made.opType)) return cutsRows(made, view) ? undefined : view.leading(first);
  switch (made.opType) {
    case 'Add':
    case 'Div':
    case 'Mul': {
      if (isBroadcast(second, first, view)) return view.leading(first);
      if (isBroadcast(first, second, view)) return view.leading(second);
      if (view.rank(first) === undefined || view.rank(first) !== view.rank(second)) return undefined;
      // An unknown length equals the other one, or 1: a graph for any number of rows adds nothing else to them.
      const known = [first, second].map((input) => view.leading(input));
      const distinct = new Set(known.filter((leading) => leading !== undefined && leading !== 1));
      return distinct.size === 1 ? [...distinct][0] : undefined;
    }
    case 'Concat':
      return (axisOf(made, view) ?? 0) === 0 ? undefined : view.leading(first);
    case 'MatMul':
      return view.rank(second) === 2 ? view.leading(first) : undefined;
    case 'Conv':
    case 'MultiHeadAttention':
    case 'Resize':
      return view.leading(first);
    case 'Reshape': {
      const whole = view.shapeOf(second);
      if (whole !== undefined) return view.leading(whole);
      return shapeEntries(second, view)?.at(0) === 0 ? view.leading(first) : leadingOfShape(second, view);
    }
    case 'Transpose':
      return permutation(made)?.startsWith('0,') ? view.leading(first) : undefined;
    default:
      return undefined;
  }
}

/** Whether a value is broadcast over the first axis of another. */
function isBroadcast(name: string, other: string, view: ShapeFacts): boolean {
  const [a, b] = [view.rank(name), view.rank(other)];
  if (b === undefined || b < 2) return false;
  return view.isSingle(name) || (a !== undefined && (a < b || (a === b && view.leading(name) === 1)));
}

/** Whether a Slice or Split may remove rows. */
function cutsRows(node: NodeProto, view: ShapeFacts): boolean {
  if (node.opType === 'Split') return (integerOf(node, 'axis') ?? 0) <= 0;
  return node.opType === 'Slice' && !(view.numbers(node.input[3] ?? '')?.every((axis) => axis > 0) ?? false);
}
