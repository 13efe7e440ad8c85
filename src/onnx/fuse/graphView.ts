import type { GraphProto, NodeProto } from 'onnx-buf';
import { isShared } from '../graphInfo.js';
import { constantsOf, numbersOf, type Constants } from '../constants.js';
import { describeValue } from '../describeValue.js';

export interface Weight {
  readonly dims: readonly number[];
  readonly dataType: number;
}

/** What a graph says of its values: where they come from, who uses them, and what is known of their shapes. */
export class GraphView {
  readonly constants: Constants;
  private readonly makers: ReadonlyMap<string, NodeProto>;
  private readonly users = new Map<string, NodeProto[]>();
  /** Axes of the inputs: a number, or the name of a free one. */
  private readonly inputs: ReadonlyMap<string, readonly (number | string)[]>;
  private readonly outputs: ReadonlySet<string>;
  readonly rank = remembered((name: string) => this.findRank(name));
  /** Length of a value's last axis. */
  readonly width = remembered((name: string) => this.findWidth(name));
  /** The earliest value that is known to have the same first two axes. */
  readonly origin = remembered((name: string) => this.findOrigin(name));
  /** Length of a value's second axis, from the third on there are more. */
  readonly channels = remembered((name: string) => this.findChannels(name));
  /** Length of a value's first axis, or `ROWS`. */
  readonly leading = remembered((name: string) => this.findLeading(name));

  constructor(graph: GraphProto) {
    this.inputs = new Map(graph.input.map((input) => [input.name, describeValue(input).dims]));
    this.outputs = new Set(graph.output.map(({ name }) => name));
    this.constants = constantsOf(graph);
    this.makers = new Map(graph.node.flatMap((node) => alike(node).map((name) => [name, node] as const)));
    for (const node of graph.node) {
      for (const name of new Set(node.input)) {
        const known = this.users.get(name);
        if (known) known.push(node);
        else this.users.set(name, [node]);
      }
    }
  }

  /** The node that a value comes from, if what is said here of its results holds for that one. */
  maker(name: string): NodeProto | undefined {
    return this.makers.get(name);
  }

  /** The node that uses a value, if it is one only and the graph does not give it out. */
  onlyUser(name: string): NodeProto | undefined {
    const users = this.users.get(name) ?? [];
    return users.length === 1 && !this.outputs.has(name) ? users[0] : undefined;
  }

  /** The numbers of a constant. */
  numbers(name: string): number[] | undefined {
    return numbersOf(this.constants.get(name));
  }

  /** Shape and type of a constant, as it is or cast: weights are often stored in half precision. */
  weight(name: string): Weight | undefined {
    const constant = this.constants.get(name);
    if (constant) return { dims: constant.dims.map(Number), dataType: constant.dataType };
    const made = this.maker(name);
    const stored = made?.opType === 'Cast' ? this.weight(made.input[0]) : undefined;
    return made && stored && { dims: stored.dims, dataType: integerOf(made, 'to') ?? stored.dataType };
  }

  /** The entries of a shape, each undefined where the graph does not say it; undefined if it is not known how many there are. */
  entries(shape: string): (number | undefined)[] | undefined {
    return this.numbers(shape) ?? this.parts(shape)?.map((part) => this.wholeNumber(part));
  }

  /** Whether the first entry of a shape is the length of a value's first axis, whatever that is. */
  isLeading(shape: string, value: string): boolean {
    const leading = this.leadingOfShape(shape);
    return leading !== undefined && leading === this.leading(value);
  }

  /** Whether a value is one number, whatever it is, of no more than one axis. */
  isSingle(name: string): boolean {
    const constant = this.constants.get(name);
    if (constant) return constant.dims.length === 0 || (constant.dims.length === 1 && constant.dims[0] === 1n);
    const made = this.maker(name);
    switch (made?.opType) {
      case 'Cast':
      case 'Sqrt':
      case 'Div':
      case 'Mul':
        return made.input.every((input) => this.isSingle(input));
      case 'Slice':
        // The last entry of a shape, to whatever end.
        return this.maker(made.input[0])?.opType === 'Shape' && this.numbers(made.input[1])?.join() === '-1';
      default:
        return false;
    }
  }

  /** What a shape is put together of, an entry each. */
  private parts(shape: string): string[] | undefined {
    const concat = this.maker(shape);
    const isEntry = (part: string) => this.numbers(part)?.length === 1 || this.maker(part)?.opType === 'Unsqueeze';
    return concat?.opType === 'Concat' && concat.input.every(isEntry) ? concat.input : undefined;
  }

  /** A whole number that is computed of constants and widths. */
  private wholeNumber(name: string): number | undefined {
    const constant = this.numbers(name);
    if (constant) return constant.length === 1 ? constant[0] : undefined;
    const made = this.maker(name);
    switch (made?.opType) {
      case 'Cast':
      case 'Identity':
      case 'Unsqueeze':
        return this.wholeNumber(made.input[0]);
      case 'Div': {
        const [a, b] = made.input.map((input) => this.wholeNumber(input));
        // Of whole numbers or not: where nothing is left over, that is the same.
        return a === undefined || b === undefined || a % b !== 0 ? undefined : a / b;
      }
      case 'Mul': {
        const [a, b] = made.input.map((input) => this.wholeNumber(input));
        return a === undefined || b === undefined ? undefined : a * b;
      }
      case 'Gather': {
        const of = this.shapeOf(made.input[0]);
        const axis = this.numbers(made.input[1])?.at(0);
        const isLast = of !== undefined && axis !== undefined && (axis === -1 || axis + 1 === this.rank(of));
        return isLast ? this.width(of) : undefined;
      }
      default:
        return undefined;
    }
  }

  /** What is known of a shape's first entry, where that is the length of some value's first axis. */
  private leadingOfShape(shape: string): number | string | undefined {
    const entry = this.parts(shape)?.at(0);
    let made = entry === undefined ? undefined : this.maker(entry);
    while (made?.opType === 'Unsqueeze' || made?.opType === 'Cast') made = this.maker(made.input[0]);
    if (made?.opType !== 'Gather' || this.numbers(made.input[1])?.join() !== '0') return undefined;
    const of = this.shapeOf(made.input[0]);
    return of === undefined ? undefined : this.leading(of);
  }

  /** The value whose whole shape another is. */
  shapeOf(name: string): string | undefined {
    const made = this.maker(name);
    return made?.opType === 'Shape' && made.attribute.length === 0 ? made.input[0] : undefined;
  }

  /** Whether a Slice or Split may leave out rows. */
  private cutsRows(node: NodeProto): boolean {
    if (node.opType === 'Split') return (integerOf(node, 'axis') ?? 0) <= 0;
    return node.opType === 'Slice' && !(this.numbers(node.input[3] ?? '')?.every((axis) => axis > 0) ?? false);
  }

  private findRank(name: string): number | undefined {
    const constant = this.constants.get(name);
    if (constant) return constant.dims.length;
    const made = this.maker(name);
    if (!made) return this.inputs.get(name)?.length;
    const [first, second] = made.input;
    if (KEEPING.has(made.opType)) return this.rank(first);
    switch (made.opType) {
      case 'Add':
      case 'Div':
      case 'Mul': {
        const [a, b] = [this.rank(first), this.rank(second)];
        return a === undefined || b === undefined ? undefined : Math.max(a, b);
      }
      case 'Concat':
      case 'Resize':
        return this.rank(first);
      case 'Conv':
        return this.rank(second);
      case 'Gemm':
        return 2;
      case 'MultiHeadAttention':
        return 3;
      case 'MatMul':
        return this.rank(second) === 2 ? this.rank(first) : undefined;
      case 'Reshape': {
        const whole = this.shapeOf(second);
        return whole === undefined ? this.entries(second)?.length : this.rank(whole);
      }
      case 'Transpose':
        return permutation(made)?.split(',').length;
      case 'Unsqueeze': {
        const [rank, axes] = [this.rank(first), this.numbers(second)?.length];
        return rank === undefined || axes === undefined ? undefined : rank + axes;
      }
      default:
        return undefined;
    }
  }

  private findWidth(name: string): number | undefined {
    const constant = this.constants.get(name);
    if (constant) return constant.dims.length === 0 ? undefined : Number(constant.dims[constant.dims.length - 1]);
    const made = this.maker(name);
    if (!made) {
      const last = this.inputs.get(name)?.at(-1);
      return typeof last === 'number' ? last : undefined;
    }
    const [first, second] = made.input;
    switch (made.opType) {
      case 'Cast':
      case 'Dropout':
      case 'Identity':
      case 'LayerNormalization':
      case 'SkipLayerNormalization':
        return this.width(first);
      case 'Add':
      case 'Div':
      case 'Mul': {
        // The other is as wide, or a single number.
        const widths = [this.width(first), this.width(second)].filter((width) => width !== undefined && width > 1);
        return widths[0];
      }
      case 'MatMul':
        return this.width(second);
      case 'MultiHeadAttention':
        return this.width(made.input[2]);
      case 'Reshape': {
        const last = this.entries(second)?.at(-1);
        return last !== undefined && last > 0 ? last : this.normalizedWidth(name);
      }
      default:
        return undefined;
    }
  }

  /** The width that a LayerNormalization of a value tells of it: its scale cannot be wider. */
  private normalizedWidth(name: string): number | undefined {
    const norm = this.users
      .get(name)
      ?.find(({ opType, input }) => opType === 'LayerNormalization' && input[0] === name);
    const dims = norm && (integerOf(norm, 'axis') ?? -1) === -1 ? this.weight(norm.input[1])?.dims : undefined;
    return dims?.length === 1 && dims[0] > 1 ? dims[0] : undefined;
  }

  private findOrigin(name: string): string {
    const made = this.maker(name);
    const [first, second] = made?.input ?? [];
    switch (made?.opType) {
      case 'Cast':
      case 'Dropout':
      case 'Identity':
      case 'LayerNormalization':
      case 'MultiHeadAttention':
        return this.origin(first);
      case 'MatMul':
        return this.rank(second) === 2 ? this.origin(first) : name;
      case 'Add':
      case 'Div':
      case 'Mul': {
        // A bias or a number, or what is known to be alike.
        const isSmall = (input: string) => this.isSingle(input) || (this.weight(input)?.dims.length ?? Infinity) <= 1;
        const [a, b] = [this.origin(first), this.origin(second)];
        if (isSmall(first) || a === b) return b;
        return isSmall(second) ? a : name;
      }
      default:
        return name;
    }
  }

  private findChannels(name: string): number | undefined {
    const made = this.maker(name);
    const [first, second] = made?.input ?? [];
    switch (made?.opType) {
      case 'Cast':
      case 'Dropout':
      case 'Gelu':
      case 'Identity':
      case 'Resize':
      case 'Sigmoid':
        return this.channels(first);
      case 'Concat': {
        const parts = made.input.map((part) => this.channels(part));
        if (this.axisOf(made) !== 1) return undefined;
        return parts.reduce((sum, part) => (sum === undefined || part === undefined ? undefined : sum + part), 0);
      }
      case 'Conv':
        return this.weight(second)?.dims[0];
      case 'Add':
      case 'Div':
      case 'Mul': {
        // The other has as many, or one.
        const whole = [first, second].filter((input) => this.rank(input) === this.rank(name));
        return whole.map((input) => this.channels(input)).find((count) => count !== undefined && count > 1);
      }
      case 'Reshape': {
        const like = this.shapeOf(second);
        return like === undefined ? undefined : this.channels(like);
      }
      default:
        return undefined;
    }
  }

  /** Whether a value is broadcast over the first axis of another. */
  private hasFewerAxes(name: string, other: string): boolean {
    const [a, b] = [this.rank(name), this.rank(other)];
    if (b === undefined || b < 2) return false;
    return this.isSingle(name) || (a !== undefined && (a < b || (a === b && this.leading(name) === 1)));
  }

  /** The axis that a node works along, from 0. */
  private axisOf(node: NodeProto): number | undefined {
    const axis = integerOf(node, 'axis') ?? 0;
    const rank = this.rank(node.input[0]);
    if (axis >= 0) return axis;
    return rank === undefined ? undefined : axis + rank;
  }

  private findLeading(name: string): number | string | undefined {
    const constant = this.weight(name);
    if (constant) return constant.dims.at(0);
    const made = this.maker(name);
    if (!made) {
      const dims = this.inputs.get(name);
      // A bucket gives all inputs as many rows.
      return !dims || isShared({ dims }) ? undefined : ROWS;
    }
    const [first, second] = made.input;
    if (KEEPING.has(made.opType)) return this.cutsRows(made) ? undefined : this.leading(first);
    switch (made.opType) {
      case 'Add':
      case 'Div':
      case 'Mul': {
        if (this.hasFewerAxes(second, first)) return this.leading(first);
        if (this.hasFewerAxes(first, second)) return this.leading(second);
        if (this.rank(first) === undefined || this.rank(first) !== this.rank(second)) return undefined;
        // Where one is not known, it is as long as the other, or one: a graph for any number of rows adds nothing else to them.
        const known = [first, second].map((input) => this.leading(input));
        const distinct = new Set(known.filter((leading) => leading !== undefined && leading !== 1));
        return distinct.size === 1 ? [...distinct][0] : undefined;
      }
      case 'Concat':
        return (this.axisOf(made) ?? 0) === 0 ? undefined : this.leading(first);
      case 'MatMul':
        return this.rank(second) === 2 ? this.leading(first) : undefined;
      case 'Conv':
      case 'MultiHeadAttention':
      case 'Resize':
        return this.leading(first);
      case 'Reshape': {
        const whole = this.shapeOf(second);
        if (whole !== undefined) return this.leading(whole);
        return this.entries(second)?.at(0) === 0 ? this.leading(first) : this.leadingOfShape(second);
      }
      case 'Transpose':
        return permutation(made)?.startsWith('0,') ? this.leading(first) : undefined;
      default:
        return undefined;
    }
  }
}

/** The first axis of all inputs in a bucket. */
const ROWS = 'rows';

/** The results of a node that are as the first is. */
function alike({ opType, output }: NodeProto): string[] {
  if (opType === 'Split') return output;
  return opType === 'SkipLayerNormalization' ? output.filter((_, k) => k === 0 || k === 3) : output.slice(0, 1);
}

/** Operators whose result has the axes of their first input, and but for Slice and Split the same lengths. */
const KEEPING = new Set([
  ...['Cast', 'Dropout', 'Erf', 'Gelu', 'Identity', 'InstanceNormalization', 'LayerNormalization'],
  ...['Sigmoid', 'SkipLayerNormalization', 'Slice', 'Softmax', 'Split'],
]);

/** The axes of a Transpose. */
export function permutation(node: NodeProto | undefined): string | undefined {
  const ints = node?.opType === 'Transpose' ? node.attribute.find(({ name }) => name === 'perm')?.ints : undefined;
  return ints?.join();
}

export function integerOf({ attribute }: NodeProto, wanted: string): number | undefined {
  const found = attribute.find(({ name }) => name === wanted);
  return found && Number(found.i);
}

function remembered<Value>(find: (name: string) => Value): (name: string) => Value {
  const known = new Map<string, Value>();
  return (name) => {
    const before = known.get(name);
    if (before !== undefined || known.has(name)) return before as Value;
    const value = find(name);
    known.set(name, value);
    return value;
  };
}
