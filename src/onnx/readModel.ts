import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { ModelProtoSchema, TensorProto_DataLocation, TensorProtoSchema, type ModelProto } from 'onnx-buf';
import { lfsPointerIn, MAX_POINTER_BYTES } from '../files/lfsPointer.js';
import { externalData } from './weights.js';

/** Numbers of fields. Source: onnx.proto. */
const MODEL_GRAPH = 7;
const GRAPH_INITIALIZER = 5;
/** float_data, raw_data and double_data of a tensor; packed numbers have the same bytes as raw ones. */
const TENSOR_NUMBERS: readonly number[] = [4, 9, 10];

/** Smaller tensors stay in the graph: among them are the shapes that ONNX Runtime needs before it runs. */
const INLINE_BYTES = 1024;
/** Bytes to read from a file at a time. */
const WINDOW_BYTES = 1 << 18;
/** Protocol buffers are smaller than this. */
const MAX_BYTES = 2 ** 31;

/**
 * Reads an ONNX file without its weights: a large tensor refers to its place in the file, as one in another file does. So a file of
 * 2 GB takes a few megabytes of memory.
 * @throws Error if the file is not an ONNX model
 */
export async function readModel(path: string): Promise<ModelProto> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    if (size >= MAX_BYTES)
      throw new Error('a file above 2 GB, the limit of the format; larger graphs have their weights in another file');
    const file = new WindowedFile(handle, size);
    const pointer = lfsPointerIn(
      Buffer.from(await file.bytes(0, Math.min(size, MAX_POINTER_BYTES))).toString('latin1'),
    );
    if (pointer !== undefined) throw new Error(pointer);
    const writer = new BinaryWriter();
    for await (const field of fieldsOf(file, 0, size)) {
      if (field.number === MODEL_GRAPH && field.type === WireType.LengthDelimited) {
        writer.tag(field.number, field.type).bytes(await lightGraph(file, field, basename(path)));
      } else writer.raw(await file.bytes(field.start, field.end));
    }
    return fromBinary(ModelProtoSchema, writer.finish());
  } finally {
    await handle.close();
  }
}

/** A field of a message in a file: positions of its tag, of its value and after it. */
interface Field {
  readonly number: number;
  readonly type: WireType;
  readonly start: number;
  readonly value: number;
  readonly end: number;
}

async function lightGraph(file: WindowedFile, graph: Field, name: string): Promise<Uint8Array> {
  const writer = new BinaryWriter();
  for await (const field of fieldsOf(file, graph.value, graph.end)) {
    const isLarge = field.end - field.value > INLINE_BYTES;
    if (field.number === GRAPH_INITIALIZER && field.type === WireType.LengthDelimited && isLarge) {
      writer.tag(field.number, field.type).bytes(await lightTensor(file, field, name));
    } else writer.raw(await file.bytes(field.start, field.end));
  }
  return writer.finish();
}

/** A tensor whose numbers are replaced by their place in the file of that name. */
async function lightTensor(file: WindowedFile, tensor: Field, name: string): Promise<Uint8Array> {
  const fields: Field[] = [];
  for await (const field of fieldsOf(file, tensor.value, tensor.end)) fields.push(field);
  const isNumbers = ({ number, type }: Field) => TENSOR_NUMBERS.includes(number) && type === WireType.LengthDelimited;
  const [numbers, ...more] = fields.filter(isNumbers);
  if ((numbers as Field | undefined) === undefined || more.length > 0) return file.bytes(tensor.value, tensor.end);
  const writer = new BinaryWriter();
  for (const field of fields) if (!isNumbers(field)) writer.raw(await file.bytes(field.start, field.end));
  const reference = create(TensorProtoSchema, {
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: externalData({ location: name, offset: numbers.value, length: numbers.end - numbers.value }),
  });
  return writer.raw(toBinary(TensorProtoSchema, reference)).finish();
}

/** The fields of a message between two positions. @throws Error if it is not a message */
async function* fieldsOf(file: WindowedFile, from: number, to: number): AsyncGenerator<Field> {
  for (let start = from; start < to;) {
    const reader = new BinaryReader(await file.bytes(start, Math.min(to, start + MAX_HEADER)));
    const [number, type] = reader.tag();
    if (type === WireType.LengthDelimited) {
      const length = reader.uint32();
      const value = start + reader.pos;
      yield* inside({ number, type, start, value, end: value + length }, to);
      start = value + length;
    } else {
      const value = start + reader.pos;
      reader.skip(type);
      const end = start + reader.pos;
      yield* inside({ number, type, start, value, end }, to);
      start = end;
    }
  }
}

/** A tag and a varint, or a number. */
const MAX_HEADER = 20;

function* inside(field: Field, to: number): Generator<Field> {
  if (field.end > to) throw new Error('the file ends too early');
  yield field;
}

/** A file that is read through a window, so that neighbouring fields need one call of the system. */
class WindowedFile {
  private window = new Uint8Array(0);
  private from = 0;

  constructor(
    private readonly handle: FileHandle,
    private readonly size: number,
  ) {}

  async bytes(from: number, to: number): Promise<Uint8Array> {
    if (from < this.from || to > this.from + this.window.length) {
      const window = new Uint8Array(Math.min(Math.max(to - from, WINDOW_BYTES), this.size - from));
      const { bytesRead } = await this.handle.read(window, 0, window.length, from);
      if (bytesRead < to - from) throw new Error('the file became shorter while it was read');
      this.window = window.subarray(0, bytesRead);
      this.from = from;
    }
    return this.window.subarray(from - this.from, to - this.from);
  }
}
