import { getFloat16, setFloat16 } from '@petamoriken/float16';
import { allFinite } from '../../tensor/operations.js';
import { sizeOf, type Tensor } from '../../tensor/tensor.js';
import type { Batch, ConditioningId, Evaluation } from '../engine.js';
import type { RemoteInput, RemoteModel } from './modelInterface.js';
import { MalformedAnswer, MAX_ELEMENT_BYTES, type AnswerTensor, type RequestTensor } from './oip.js';

/** The registered inputs, by id. */
export type Registered = ReadonlyMap<ConditioningId, Readonly<Record<string, Tensor>>>;

/** A batch that does not fit a network. */
export class UnsuitableBatch extends Error {
  constructor(
    readonly expected: string,
    readonly found: string,
  ) {
    super(`expected ${expected}, found ${found}`);
  }
}

/** One row of a batch, with the inputs that were registered for it. */
interface Row {
  readonly evaluation: Evaluation;
  readonly id: ConditioningId | undefined;
}

/**
 * The tensors of a request for a batch. Registered inputs are sent with every request: the protocol has no place to keep them.
 * @returns float32 tensors share the memory of the batch
 * @throws UnsuitableBatch; Error if an input is missing
 */
export function requestTensors(
  batch: Batch,
  { inputs, fixedRows }: RemoteModel,
  registered: Registered,
): { readonly tensors: RequestTensor[]; readonly rows: number } {
  const rows = batch.flatMap((evaluation): Row[] =>
    (evaluation.conditioning ?? [undefined]).map((id) => ({ evaluation, id })),
  );
  // The last row fills a batch whose size the server fixes.
  const padded = Array.from({ length: fixedRows ?? rows.length }, (_, k) => rows[Math.min(k, rows.length - 1)]);
  return { tensors: inputs.map((input) => requestTensor(input, padded, registered)), rows: padded.length };
}

function requestTensor(input: RemoteInput, rows: readonly Row[], registered: Registered): RequestTensor {
  const { name, ownName, datatype, shape, batching } = input;
  const [{ dims }] = rows.map((row) => valueOf(name, row, registered));
  const values = (batching === 'rows' ? rows : rows.slice(0, 1)).map((row) => valueOf(name, row, registered));
  for (const value of values) {
    if (sizeOf(value.dims) !== sizeOf(dims)) throw new Error(`rows of ${name} differ in shape`);
  }
  const given = batching === 'rows' ? [rows.length, ...dims] : batching === 'shared' ? shape : dims;
  // A value for each row may have an axis of its own: [batch, 1].
  const whole = [...given, ...Array<number>(Math.max(0, shape.length - given.length)).fill(1)];
  const first = batching === 'rows' ? 1 : 0;
  const fits = whole.length === shape.length && whole.every((n, k) => k < first || shape[k] < 0 || shape[k] === n);
  if (!fits) throw new UnsuitableBatch(`${name} of ${shapeText(shape.slice(first))}`, shapeText(whole.slice(first)));
  return { name: ownName, datatype, shape: whole, pieces: values.map((value) => bytesOf(value, datatype)) };
}

function valueOf(name: string, { evaluation, id }: Row, registered: Registered): Tensor {
  if (Object.hasOwn(evaluation.inputs, name)) return evaluation.inputs[name];
  const inputs = id === undefined ? undefined : registered.get(id);
  if (!inputs || !Object.hasOwn(inputs, name)) throw new Error(`input ${name} was not given`);
  return inputs[name];
}

/** Conversions to half precision: registered inputs are sent again and again. */
const halves = new WeakMap<Tensor, Uint8Array>();

/** The elements of a tensor in a type of the protocol. Whole numbers are truncated, as Optimum truncates fractional timesteps. */
function bytesOf(tensor: Tensor, datatype: string): Uint8Array {
  const { data } = tensor;
  switch (datatype) {
    case 'FP32':
      return memoryOf(data instanceof Float32Array ? data : Float32Array.from(data, Number));
    case 'INT64':
      return memoryOf(data instanceof BigInt64Array ? data : BigInt64Array.from(data, (x) => BigInt(Math.trunc(x))));
    case 'INT32':
      return memoryOf(Int32Array.from(data as Iterable<number | bigint>, Number));
    default: {
      const known = halves.get(tensor);
      if (known) return known;
      const view = new DataView(new ArrayBuffer(2 * data.length));
      for (let k = 0; k < data.length; k++) setFloat16(view, 2 * k, Number(data[k]), true);
      const bytes = new Uint8Array(view.buffer);
      halves.set(tensor, bytes);
      return bytes;
    }
  }
}

function memoryOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Bytes of the longest answer of a network whose outputs may have any shape. */
const MAX_ANSWER = 2 ** 28;

/**
 * Bytes that the tensors of an answer may have. A server may return further outputs than the one it was asked for.
 * @param rows of the request, padding included
 * @param dims as in `answerRows`
 */
export function answerBytes(
  output: string,
  { outputs }: RemoteModel,
  rows: number,
  dims: readonly number[] | undefined,
): number {
  const wanted = outputs.find(({ name }) => name === output) ?? outputs[0];
  const sizes = outputs.map((one) => {
    const shape = [rows, ...((one === wanted ? dims : undefined) ?? one.shape.slice(1))];
    return shape.every((length) => length >= 0) ? sizeOf(shape) * MAX_ELEMENT_BYTES : MAX_ANSWER;
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/**
 * The rows of an answer.
 * @param rows of the request, padding included
 * @param dims shape of a row that the output must have; undefined: any that the network's metadata allow
 * @throws MalformedAnswer if the output is missing, of another type or shape, or not finite
 */
export function answerRows(
  answer: ReadonlyMap<string, AnswerTensor>,
  output: string,
  { outputs }: RemoteModel,
  rows: number,
  dims: readonly number[] | undefined,
): Float32Array[] {
  const described = outputs.find(({ name }) => name === output) ?? outputs[0];
  const tensor = answer.get(described.name);
  if (!tensor) throw new MalformedAnswer(`no output ${described.name}`);
  const { datatype, shape, bytes } = tensor;
  const { name } = described;
  if (datatype !== described.datatype) throw new MalformedAnswer(`${name} of ${datatype}, not ${described.datatype}`);
  const expected = [rows, ...(dims ?? described.shape.slice(1))];
  const fits = shape.length === expected.length && shape.every((n, k) => expected[k] < 0 || expected[k] === n);
  if (!fits) throw new MalformedAnswer(`${name} of ${shapeText(shape)}, not ${shapeText(expected)}`);
  const size = sizeOf(shape.slice(1));
  const width = datatype === 'FP16' ? 2 : 4;
  return Array.from({ length: rows }, (_, row) => {
    const values = floatsOf(bytes.subarray(row * size * width, (row + 1) * size * width), datatype);
    if (!allFinite(values)) throw new MalformedAnswer(`NaN or infinite values in ${name}`);
    return values;
  });
}

function floatsOf(bytes: Uint8Array, datatype: string): Float32Array {
  if (datatype === 'FP16') {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Float32Array.from({ length: bytes.length / 2 }, (_, k) => getFloat16(view, 2 * k, true));
  }
  const values = new Float32Array(bytes.length / 4);
  new Uint8Array(values.buffer).set(bytes);
  return values;
}

function shapeText(shape: readonly number[]): string {
  return `shape [${shape.map((length) => (length < 0 ? 'any' : length)).join(', ')}]`;
}
