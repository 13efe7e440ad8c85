import type { GraphProto, NodeProto } from 'onnx-buf';
import { constantsOf, numbersOf, type Constants } from './constants.js';

/** What a graph says of its values: where they come from, who uses them, and what is known of their shapes. */
export class GraphView {
  readonly constants: Constants;
  private readonly makers: ReadonlyMap<string, NodeProto>;
  private readonly users = new Map<string, NodeProto[]>();
  private readonly declared: ReadonlyMap<string, number | undefined>;
  private readonly ranks = new Map<string, number | undefined>();

  constructor(graph: GraphProto) {
    this.declared = new Map(
      graph.input.map(({ name, type }) => [
        name,
        type?.value.case === 'tensorType' ? type.value.value.shape?.dim.length : undefined,
      ]),
    );
    this.constants = constantsOf(graph);
    this.makers = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node] as const)));
    for (const node of graph.node) {
      for (const name of new Set(node.input)) this.users.set(name, [...(this.users.get(name) ?? []), node]);
    }
  }

  /** The node that a value comes from. */
  maker(name: string): NodeProto | undefined {
    return this.makers.get(name);
  }

  /** The node that uses a value, if it is one only. */
  onlyUser(name: string): NodeProto | undefined {
    const users = this.users.get(name) ?? [];
    return users.length === 1 ? users[0] : undefined;
  }

  /** The numbers of a constant. */
  numbers(name: string): number[] | undefined {
    return numbersOf(this.constants.get(name));
  }

  /** An entry of a shape of four, as far as the graph says it. */
  shapeEntry(name: string, index: number): number | undefined {
    const parts = this.partsOf(name);
    const entry = parts ? this.numbers(parts[index])?.at(0) : this.numbers(name)?.at(index);
    return this.lengthOf(name) === 4 && entry !== undefined && entry > 0 ? entry : undefined;
  }

  /** Number of a value's axes, as far as the graph says it. */
  rank(name: string): number | undefined {
    if (!this.ranks.has(name)) {
      this.ranks.set(name, undefined);
      this.ranks.set(name, this.findRank(name));
    }
    return this.ranks.get(name);
  }

  private findRank(name: string): number | undefined {
    const constant = this.constants.get(name);
    if (constant) return constant.dims.length;
    const made = this.maker(name);
    if (!made) return this.declared.get(name);
    const [first, second] = made.input;
    switch (made.opType) {
      case 'Cast':
      case 'Dropout':
      case 'Erf':
      case 'Gelu':
      case 'Identity':
      case 'LayerNormalization':
      case 'Sigmoid':
      case 'Slice':
      case 'Split':
        return this.rank(first);
      case 'Add':
      case 'Div':
      case 'Mul': {
        const [a, b] = [this.rank(first), this.rank(second)];
        return a === undefined || b === undefined ? undefined : Math.max(a, b);
      }
      case 'MatMul':
        return this.rank(second) === 2 ? this.rank(first) : undefined;
      case 'Reshape':
        return this.lengthOf(second);
      case 'Transpose':
        return permutation(made)?.split(',').length;
      default:
        return undefined;
    }
  }

  /** Entries of a shape. */
  private lengthOf(name: string): number | undefined {
    return this.partsOf(name)?.length ?? this.numbers(name)?.length;
  }

  /** What a shape is put together of, an entry each. */
  private partsOf(name: string): string[] | undefined {
    const concat = this.maker(name);
    const isEntry = (part: string) => this.numbers(part)?.length === 1 || this.maker(part)?.opType === 'Unsqueeze';
    return concat?.opType === 'Concat' && concat.input.every(isEntry) ? concat.input : undefined;
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
}

/** The axes of a Transpose. */
export function permutation(node: NodeProto | undefined): string | undefined {
  const ints = node?.opType === 'Transpose' ? node.attribute.find(({ name }) => name === 'perm')?.ints : undefined;
  return ints?.join();
}
