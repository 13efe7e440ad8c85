import { Float16Array } from '@petamoriken/float16';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { sizeOf, type Tensor } from '../../tensor/tensor.js';
import {
  isShared,
  type Batch,
  type BatchResult,
  type ConditioningId,
  type GraphFile,
  type GraphInfo,
  type Rewrite,
  type TensorInfo,
} from '../engine.js';
import { prepareModel } from './model.js';

/** Inputs by name, without batch axis. */
type Row = Readonly<Record<string, Tensor>>;

/** A session of ONNX Runtime that takes batches of rows. */
export class Graph {
  readonly info: GraphInfo;

  private constructor(
    private readonly session: InferenceSession,
    rewrite: Rewrite | undefined,
    private readonly evenRows: boolean,
  ) {
    this.info = {
      inputs: session.inputMetadata.map(describe),
      outputs: session.outputMetadata.map(describe),
      rewrite,
    };
  }

  /** Opens an .onnx file. @throws whatever ONNX Runtime says of it */
  static async open(file: GraphFile, threads: number): Promise<Graph> {
    const { source, weights, rewrite } = await prepareModel(file.path, file.perRow);
    const options: InferenceSession.SessionOptions = {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 4,
      extra: {
        session: {
          // Threads that wait leave their processor to the other process of the pair, and to other engines.
          'intra_op.allow_spinning': '0',
          ...(weights !== undefined && { model_external_initializers_file_folder_path: weights }),
        },
      },
    };
    const session =
      typeof source === 'string'
        ? await InferenceSession.create(source, options)
        : await InferenceSession.create(source, options);
    return new Graph(session, rewrite, file.evenRows ?? false);
  }

  /** Frees its memory. */
  close(): Promise<void> {
    return this.session.release();
  }

  /** Runs the rows of a batch together. @param registered inputs that evaluations refer to by id */
  async run(batch: Batch, registered: ReadonlyMap<ConditioningId, Row>): Promise<BatchResult> {
    const rows = batch.flatMap(({ inputs, conditioning }): Row[] =>
      conditioning ? conditioning.map((id) => ({ ...inputs, ...lookUp(registered, id) })) : [inputs],
    );
    const padded = this.evenRows && rows.length % 2 === 1 ? [...rows, ...rows.slice(-1)] : rows;
    const feeds = Object.fromEntries(this.info.inputs.map((input) => [input.name, stack(padded, input)]));
    const output = batch[0].output;

    const start = performance.now();
    const results = await this.session.run(feeds, [output]);
    const seconds = (performance.now() - start) / 1000;

    const data = floatsOf(output, results[output]);
    const size = data.length / padded.length;
    let row = 0;
    const outputs = batch.map(({ conditioning }) =>
      Array.from({ length: conditioning?.length ?? 1 }, () => data.slice(row * size, ++row * size)),
    );
    return { outputs, seconds };
  }
}

function floatsOf(output: string, { data, type }: OrtTensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (type === 'float16' && ArrayBuffer.isView(data)) {
    return Float32Array.from(new Float16Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength / 2));
  }
  throw new Error(`output ${output} is ${type}, not float32 or float16`);
}

/** One input of all rows, as the graph wants it: stacked, or the common value if it has one for the whole batch. */
function stack(rows: readonly Row[], { name, type, dims }: TensorInfo): OrtTensor {
  const values = rows.map((row) => {
    if (!(name in row)) throw new Error(`input ${name} was not given`);
    return row[name];
  });
  const row = values[0].dims;
  if (values.some((value) => value.dims.join() !== row.join())) throw new Error(`rows of ${name} differ in shape`);
  const shared = isShared({ dims });
  const shape = shared ? dims.map(() => 1) : [values.length, ...row];
  const filled = shared ? values.slice(0, 1) : values;
  const size = sizeOf(row);
  switch (type) {
    case 'float32': {
      const data = new Float32Array(sizeOf(shape));
      filled.forEach((tensor, k) => {
        if (tensor.type !== 'float32') throw new Error(`input ${name} takes float32`);
        data.set(tensor.data, k * size);
      });
      return new OrtTensor('float32', data, shape);
    }
    case 'float16': {
      const data = new Uint16Array(sizeOf(shape));
      filled.forEach((tensor, k) => {
        if (tensor.type !== 'float32') throw new Error(`input ${name} takes float32`);
        data.set(new Uint16Array(new Float16Array(tensor.data).buffer), k * size);
      });
      return new OrtTensor('float16', data, shape);
    }
    case 'int32': {
      const data = new Int32Array(sizeOf(shape));
      filled.forEach((tensor, k) => data.set(Int32Array.from(tensor.data, Number), k * size));
      return new OrtTensor('int32', data, shape);
    }
    case 'int64': {
      const data = new BigInt64Array(sizeOf(shape));
      filled.forEach((tensor, k) =>
        data.set(tensor.type === 'int64' ? tensor.data : BigInt64Array.from(tensor.data, wholeNumber), k * size),
      );
      return new OrtTensor('int64', data, shape);
    }
    default:
      throw new Error(`input ${name} is ${type}; only float32, float16, int32 and int64 inputs can be given`);
  }
}

function wholeNumber(value: number): bigint {
  return BigInt(Math.round(value));
}

function lookUp(registered: ReadonlyMap<ConditioningId, Row>, id: ConditioningId): Row {
  const row = registered.get(id);
  if (!row) throw new Error(`conditioning ${id} is not registered`);
  return row;
}

function describe(value: InferenceSession.ValueMetadata): TensorInfo {
  return value.isTensor
    ? { name: value.name, type: value.type, dims: value.shape }
    : { name: value.name, type: 'not a tensor', dims: [] };
}
