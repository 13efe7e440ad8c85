import { create } from '@bufbuild/protobuf';
import { TensorProto_DataType, ValueInfoProtoSchema, type GraphProto, type ValueInfoProto } from 'onnx-buf';
import { sizeOf } from '../tensor/tensor.js';
import { derived, integer, node, wholeNumbers } from './nodes.js';

/** Name of the float32 input with the weights of the sums, [3, pairs, sums, 1]: of the input, and of the first and second row. */
export const SUM_WEIGHTS = 'srds/weights';
/** Name of the float32 output with the sums, [pairs, sums, elements of a row]. */
export const SUMS = 'srds/sums';
/** Sums of each pair of rows: a coarse and a fine step of a sampler. */
export const SUMS_PER_PAIR = 2;

/**
 * Appends weighted sums to a graph: for each pair of rows, of the input's row and of both rows of the graph's first output. So
 * guidance and solver steps run beside the network.
 * @param name of the input, float32, the same in both rows of a pair
 * @param shape of the input, with an even number of rows
 */
export function appendPairSums(graph: GraphProto, name: string, shape: readonly number[]): void {
  const [rows, ...dims] = shape;
  const [pairs, size] = [rows / 2, sizeOf(dims)];
  graph.input.push(declared(SUM_WEIGHTS, [3, pairs, SUMS_PER_PAIR, 1]));
  const at = (part: string) => derived(SUMS, part);
  const [pairShape, zero, one, two] = ['shape', 'zero', 'one', 'two'].map(at);
  graph.node.push(
    wholeNumbers(pairShape, [pairs, 2, size]),
    ...[zero, one, two].map((constant, value) => wholeNumbers(constant, [value])),
    node('Reshape', [name, pairShape], at('inputs')),
    node('Reshape', [graph.output[0].name, pairShape], at('outputs')),
  );
  const terms = [
    { values: at('inputs'), row: zero, weight: zero },
    { values: at('outputs'), row: zero, weight: one },
    { values: at('outputs'), row: one, weight: two },
  ].map(({ values, row, weight }, k) => {
    const [taken, weights, flat, term] = ['row', 'weights', 'flat', 'term'].map((part) => at(`${part}${k}`));
    graph.node.push(
      // [pairs, 1, size] times [pairs, sums, 1]
      node('Gather', [values, row], taken, { attribute: [integer('axis', 1)] }),
      node('Gather', [SUM_WEIGHTS, weight], weights, { attribute: [integer('axis', 0)] }),
      node('Reshape', [weights, at('weightShape')], flat),
      node('Mul', [taken, flat], term),
    );
    return term;
  });
  graph.node.push(node('Add', [terms[0], terms[1]], at('guided')), node('Add', [at('guided'), terms[2]], SUMS));
  graph.node.unshift(wholeNumbers(at('weightShape'), [pairs, SUMS_PER_PAIR, 1]));
  graph.output.push(declared(SUMS, [pairs, SUMS_PER_PAIR, size]));
}

function declared(name: string, dims: readonly number[]): ValueInfoProto {
  const dim = dims.map((value) => ({ value: { case: 'dimValue' as const, value: BigInt(value) } }));
  const type = {
    value: { case: 'tensorType' as const, value: { elemType: TensorProto_DataType.FLOAT, shape: { dim } } },
  };
  return create(ValueInfoProtoSchema, { name, type });
}
