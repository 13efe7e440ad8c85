import type { GraphProto, NodeProto } from 'onnx-buf';
import { constantsOf, numbersOf, type Constants } from '../constants.js';
import { describeValue } from '../describeValue.js';
import { integerOf } from './attributes.js';

/** Shape and element type of a constant. */
export interface Weight {
  readonly dims: readonly number[];
  readonly dataType: number;
}

/** Where the values of a graph come from, and which nodes use them. */
export class Dataflow {
  readonly constants: Constants;
  private readonly makers: ReadonlyMap<string, NodeProto>;
  private readonly users = new Map<string, NodeProto[]>();
  private readonly inputs: ReadonlyMap<string, readonly (number | string)[]>;
  private readonly outputs: ReadonlySet<string>;

  constructor(graph: GraphProto) {
    this.inputs = new Map(graph.input.map((input) => [input.name, describeValue(input).dims]));
    this.outputs = new Set(graph.output.map(({ name }) => name));
    this.constants = constantsOf(graph);
    this.makers = new Map(graph.node.flatMap((node) => describedResults(node).map((name) => [name, node] as const)));
    for (const node of graph.node) {
      for (const name of new Set(node.input)) {
        const known = this.users.get(name);
        if (known) known.push(node);
        else this.users.set(name, [node]);
      }
    }
  }

  /** The node that computes a value, if the facts about the node's first result hold for the value. */
  maker(name: string): NodeProto | undefined {
    return this.makers.get(name);
  }

  /** The nodes that use a value. */
  usersOf(name: string): readonly NodeProto[] {
    return this.users.get(name) ?? [];
  }

  /** The only node that uses a value; undefined if there are others, or if the value is an output of the graph. */
  onlyUser(name: string): NodeProto | undefined {
    const users = this.usersOf(name);
    return users.length === 1 && !this.outputs.has(name) ? users[0] : undefined;
  }

  /** Whether a value is an output of the graph. */
  isOutput(name: string): boolean {
    return this.outputs.has(name);
  }

  /** The axes of an input of the graph; a free axis is a name. */
  inputDims(name: string): readonly (number | string)[] | undefined {
    return this.inputs.get(name);
  }

  /** The elements of a constant. */
  numbers(name: string): number[] | undefined {
    return numbersOf(this.constants.get(name));
  }

  /**
   * Shape and type of a constant, possibly behind a Cast, since weights are often stored in half precision, or behind an Identity, which
   * torch exports for equal weights.
   */
  weight(name: string): Weight | undefined {
    const constant = this.constants.get(name);
    if (constant) return { dims: constant.dims.map(Number), dataType: constant.dataType };
    const made = this.maker(name);
    if (made?.opType === 'Identity') return this.weight(made.input[0]);
    const stored = made?.opType === 'Cast' ? this.weight(made.input[0]) : undefined;
    return made && stored && { dims: stored.dims, dataType: integerOf(made, 'to') ?? stored.dataType };
  }

  /** Whether a value is a single number in at most one axis. */
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
        // The last entry of a shape, whatever the end.
        return this.maker(made.input[0])?.opType === 'Shape' && this.numbers(made.input[1])?.join() === '-1';
      default:
        return false;
    }
  }

  /** The value whose whole shape the given value is. */
  shapeOf(name: string): string | undefined {
    const made = this.maker(name);
    return made?.opType === 'Shape' && made.attribute.length === 0 ? made.input[0] : undefined;
  }
}

/** The results of a node that have the shape facts of the first. */
function describedResults({ opType, output }: NodeProto): string[] {
  if (opType === 'Split') return output;
  return opType === 'SkipLayerNormalization' ? output.filter((_, k) => k === 0 || k === 3) : output.slice(0, 1);
}
