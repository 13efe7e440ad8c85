import { FLOAT, FLOAT16, INT64 } from '../constants.js';
import { integerOf } from './attributes.js';
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
      return [FLOAT, FLOAT16].includes(integerOf(made, 'to') ?? NaN) ? singleNumber(made.input[0], view) : undefined;
    case 'Sqrt':
      return known(Math.sqrt(inputs()[0]));
    case 'Div': {
      const [a, b] = inputs();
      const isWhole = made.input.some((input) => isInteger(input, view));
      return known(isWhole ? Math.trunc(a / b) : a / b);
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

/** Whether a known number is an int64: both operands of an operator have one type. */
function isInteger(name: string, view: ShapeFacts): boolean {
  const constant = view.constants.get(name);
  if (constant) return constant.dataType === INT64;
  const made = view.maker(name);
  return (
    made?.opType === 'Slice' || ((made?.opType === 'Div' || made?.opType === 'Mul') && isInteger(made.input[0], view))
  );
}
