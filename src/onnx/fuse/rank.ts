import type { NodeProto } from 'onnx-buf';
import { integerOf, permutation } from './attributes.js';
import { shapeEntries } from './shapeEntries.js';
import { KEEPS_AXES, type ShapeFacts } from './shapeFacts.js';

/** Number of axes of a value. */
export function findRank(name: string, view: ShapeFacts): number | undefined {
  const constant = view.constants.get(name);
  if (constant) return constant.dims.length;
  const made = view.maker(name);
  if (!made) return view.inputDims(name)?.length;
  const [first, second] = made.input;
  if (KEEPS_AXES.has(made.opType)) return view.rank(first);
  switch (made.opType) {
    case 'Add':
    case 'Div':
    case 'Mul': {
      const [a, b] = [view.rank(first), view.rank(second)];
      return a === undefined || b === undefined ? undefined : Math.max(a, b);
    }
    case 'Concat':
    case 'Resize':
      return view.rank(first);
    case 'Conv':
      return view.rank(second);
    case 'Gemm':
      return 2;
    case 'MultiHeadAttention':
      return 3;
    case 'MatMul':
      return view.rank(second) === 2 ? view.rank(first) : undefined;
    case 'Reshape': {
      const whole = view.shapeOf(second);
      return whole === undefined ? shapeEntries(second, view)?.length : view.rank(whole);
    }
    case 'Transpose':
      return permutation(made)?.split(',').length;
    case 'Unsqueeze': {
      const [rank, axes] = [view.rank(first), view.numbers(second)?.length];
      return rank === undefined || axes === undefined ? undefined : rank + axes;
    }
    default:
      return undefined;
  }
}

/** The `axis` attribute of a node, counted from 0. */
export function axisOf(node: NodeProto, view: ShapeFacts): number | undefined {
  const axis = integerOf(node, 'axis') ?? 0;
  const rank = view.rank(node.input[0]);
  if (axis >= 0) return axis;
  return rank === undefined ? undefined : axis + rank;
}
