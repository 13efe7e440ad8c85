import type { GraphProto, ValueInfoProto } from 'onnx-buf';
import { nameOfType } from './elementTypes.js';
import { hasBatchAxis, type GraphInfo, type TensorInfo } from './graphInfo.js';

/** Describes an input or output as the file declares it. */
export function describeValue({ name, type }: ValueInfoProto): TensorInfo {
  if (type?.value.case !== 'tensorType') return { name, type: 'not a tensor', dims: [] };
  const { elemType, shape } = type.value.value;
  const dims = (shape?.dim ?? []).map(({ value }) => {
    if (value.case !== 'dimValue') return value.value ?? '?';
    // Some exporters write -1 for a free axis.
    return value.value < 0n ? '?' : Number(value.value);
  });
  return { name, type: nameOfType(elemType), dims };
}

/** Describes the inputs and outputs of a graph. @param constants names of the inputs without a batch axis */
export function valuesOf(graph: GraphProto, constants: readonly string[] = []): Pick<GraphInfo, 'inputs' | 'outputs'> {
  // Inputs that are initializers too have a value already.
  const known = new Set(graph.initializer.map(({ name }) => name));
  const inputs = graph.input
    .filter(({ name }) => !known.has(name))
    .map(describeValue)
    .map((input) => (constants.includes(input.name) ? { ...input, constant: true } : input));
  return { inputs, outputs: graph.output.map(describeValue) };
}

/**
 * Rows of every batch, if the inputs of a graph fix them.
 * @throws Error if they differ from input to input
 */
export function fixedRows(inputs: readonly TensorInfo[]): number | undefined {
  const fixed = inputs.filter((input) => hasBatchAxis(input) && typeof input.dims[0] === 'number');
  const [rows, ...others] = new Set(fixed.map(({ dims }) => Number(dims[0])));
  if (others.length === 0 && rows !== 0) return rows;
  throw new Error(`batches of ${[rows, ...others].join(' and ')} rows: ${fixed.map(({ name }) => name).join(', ')}`);
}
