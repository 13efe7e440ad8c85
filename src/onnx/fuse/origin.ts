import type { ShapeFacts } from './shapeFacts.js';

/** The earliest value that has the same first two axes. */
export function findOrigin(name: string, view: ShapeFacts): string {
  const made = view.maker(name);
  const [first, second] = made?.input ?? [];
  switch (made?.opType) {
    case 'Cast':
    case 'Dropout':
    case 'Identity':
    case 'LayerNormalization':
    case 'MultiHeadAttention':
      return view.origin(first);
    case 'MatMul':
      return view.rank(second) === 2 ? view.origin(first) : name;
    case 'Add':
    case 'Div':
    case 'Mul': {
      // A bias or a number, or a value of the same origin.
      const isSmall = (input: string) => view.isSingle(input) || (view.weight(input)?.dims.length ?? Infinity) <= 1;
      const [a, b] = [view.origin(first), view.origin(second)];
      if (isSmall(first) || a === b) return b;
      return isSmall(second) ? a : name;
    }
    default:
      return name;
  }
}
