import type { ShapeFacts } from './shapeFacts.js';

/** A single number that is computed from constants and widths, in float64; undefined if it is not known. */
export function singleNumber(name: string, view: ShapeFacts): number | undefined {
  const constant = view.numbers(name);
  if (constant) return constant.length === 1 ? constant[0] : undefined;
  const made = view.maker(name);
  const inputs = () => made?.input.map((input) => singleNumber(input, view) ?? NaN) ?? [];
  const known = (value: number) => (Number.isNaN(value) ? undefined : value);
  switch (made?.opType) {
    case 'Cast':
      return singleNumber(made.input[0], view);
    case 'Sqrt':
      return known(Math.sqrt(inputs()[0]));
    case 'Div': {
      const [a, b] = inputs();
      return known(a / b);
    }
    case 'Mul': {
      const [a, b] = inputs();
      return known(a * b);
    }
    case 'Slice': {
      // The last entry of a shape, whatever the end.
      const of = view.numbers(made.input[1])?.join() === '-1' ? view.shapeOf(made.input[0]) : undefined;
      return of === undefined ? undefined : view.width(of);
    }
    default:
      return undefined;
  }
}
