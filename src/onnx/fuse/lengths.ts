import { integerOf, permutation } from './attributes.js';
import { axisOf } from './rank.js';
import { shapeEntries } from './shapeEntries.js';
import type { ShapeFacts } from './shapeFacts.js';

/** Length of a value's last axis. */
export function findWidth(name: string, view: ShapeFacts): number | undefined {
  const constant = view.constants.get(name);
  if (constant) return constant.dims.length === 0 ? undefined : Number(constant.dims[constant.dims.length - 1]);
  const made = view.maker(name);
  if (!made) {
    const last = view.inputDims(name)?.at(-1);
    return typeof last === 'number' ? last : undefined;
  }
  const [first, second] = made.input;
  switch (made.opType) {
    case 'Cast':
    case 'Dropout':
    case 'Identity':
    case 'LayerNormalization':
    case 'SkipLayerNormalization':
      return view.width(first);
    case 'Add':
    case 'Div':
    case 'Mul': {
      // The other operand is as wide, or a single number.
      const widths = [view.width(first), view.width(second)].filter((width) => width !== undefined && width > 1);
      return widths[0];
    }
    case 'Transpose': {
      const order = permutation(made)?.split(',').map(Number);
      const keepsLast = order !== undefined && order.at(-1) === order.length - 1;
      return keepsLast ? view.width(first) : undefined;
    }
    case 'MatMul':
      return view.width(second);
    case 'MultiHeadAttention':
      return view.width(made.input[2]);
    case 'Reshape': {
      const last = shapeEntries(second, view)?.at(-1);
      return last !== undefined && last > 0 ? last : normalizedWidth(name, view);
    }
    default:
      return undefined;
  }
}

/** Length of a value's second axis. */
export function findChannels(name: string, view: ShapeFacts): number | undefined {
  const made = view.maker(name);
  const declared = made ? undefined : view.inputDims(name)?.[1];
  if (typeof declared === 'number') return declared;
  const [first, second] = made?.input ?? [];
  switch (made?.opType) {
    case 'Cast':
    case 'Dropout':
    case 'Gelu':
    case 'Identity':
    case 'Resize':
    case 'Sigmoid':
      return view.channels(first);
    case 'Concat': {
      const parts = made.input.map((part) => view.channels(part));
      if (axisOf(made, view) !== 1) return undefined;
      return parts.reduce((sum, part) => (sum === undefined || part === undefined ? undefined : sum + part), 0);
    }
    case 'Conv':
      return view.weight(second)?.dims[0];
    case 'Add':
    case 'Div':
    case 'Mul': {
      // The other operand has as many, or one.
      const whole = [first, second].filter((input) => view.rank(input) === view.rank(name));
      return whole.map((input) => view.channels(input)).find((count) => count !== undefined && count > 1);
    }
    case 'Reshape': {
      const like = view.shapeOf(second);
      return like === undefined ? undefined : view.channels(like);
    }
    default:
      return undefined;
  }
}

/** The width that a LayerNormalization of a value proves: its scale cannot be wider. */
function normalizedWidth(name: string, view: ShapeFacts): number | undefined {
  const norm = view.usersOf(name).find(({ opType, input }) => opType === 'LayerNormalization' && input[0] === name);
  const dims = norm && (integerOf(norm, 'axis') ?? -1) === -1 ? view.weight(norm.input[1])?.dims : undefined;
  return dims?.length === 1 && dims[0] > 1 ? dims[0] : undefined;
}
