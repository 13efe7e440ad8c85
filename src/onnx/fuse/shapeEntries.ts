import type { ShapeFacts } from './shapeFacts.js';

/** The entries of a shape, each undefined where unknown; undefined if their number is unknown. */
export function shapeEntries(shape: string, view: ShapeFacts): (number | undefined)[] | undefined {
  return view.numbers(shape) ?? shapeParts(shape, view)?.map((part) => integerValue(part, view));
}

/** The first entry of a shape, if it is the length of some value's first axis and that length is known. */
export function leadingOfShape(shape: string, view: ShapeFacts): number | string | undefined {
  const entry = shapeParts(shape, view)?.at(0);
  let made = entry === undefined ? undefined : view.maker(entry);
  while (made?.opType === 'Unsqueeze' || made?.opType === 'Cast') made = view.maker(made.input[0]);
  if (made?.opType !== 'Gather' || view.numbers(made.input[1])?.join() !== '0') return undefined;
  const of = view.shapeOf(made.input[0]);
  return of === undefined ? undefined : view.leading(of);
}

/** The values that a shape is concatenated from, one for each entry. */
function shapeParts(shape: string, view: ShapeFacts): string[] | undefined {
  const concat = view.maker(shape);
  const isEntry = (part: string) => view.numbers(part)?.length === 1 || view.maker(part)?.opType === 'Unsqueeze';
  return concat?.opType === 'Concat' && concat.input.every(isEntry) ? concat.input : undefined;
}

/** An integer that is computed from constants and widths. */
function integerValue(name: string, view: ShapeFacts): number | undefined {
  const constant = view.numbers(name);
  if (constant) return constant.length === 1 ? constant[0] : undefined;
  const made = view.maker(name);
  switch (made?.opType) {
    case 'Cast':
    case 'Identity':
    case 'Unsqueeze':
      return integerValue(made.input[0], view);
    case 'Div': {
      const [a, b] = made.input.map((input) => integerValue(input, view));
      // Without a remainder, integer and real division agree.
      return a === undefined || b === undefined || a % b !== 0 ? undefined : a / b;
    }
    case 'Mul': {
      const [a, b] = made.input.map((input) => integerValue(input, view));
      return a === undefined || b === undefined ? undefined : a * b;
    }
    case 'Gather': {
      const of = view.shapeOf(made.input[0]);
      const axis = view.numbers(made.input[1])?.at(0);
      const isLast = of !== undefined && axis !== undefined && (axis === -1 || axis + 1 === view.rank(of));
      return isLast ? view.width(of) : undefined;
    }
    default:
      return undefined;
  }
}
