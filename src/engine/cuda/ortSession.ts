import {
  inputData,
  outputData,
  OUTPUT_TYPES,
  type BucketSession,
  type InputData,
  type OutputType,
} from '../bucketSession.js';
import type { Processor } from '../device.js';
import type { OutputRow } from '../engine.js';
import { LOG_FATAL, type OrtApi, type Pointer } from './ortApi.js';
import { cpuMemoryInfo, ELEMENT_TYPES, memoryOf, type Memory, type TensorMemory } from './tensorMemory.js';

/** How to open a session. */
export interface OrtSessionOptions {
  readonly device: Processor;
  /** Threads on the CPU. */
  readonly threads: number;
  /** Folder of the weights that the graph refers to. */
  readonly weights: string | undefined;
}

/** A bound output. */
interface Output {
  readonly type: OutputType;
  readonly memory: TensorMemory;
}

/** Run option that names a captured CUDA graph, and its value for a run that is neither captured nor replayed. */
const GRAPH_ID = 'gpu_graph_id';
const NO_GRAPH = -1;

/**
 * A bucket's session in ONNX Runtime's C API. Inputs and output are bound to memory that stays. On CUDA, the first run captures a CUDA
 * graph, which the others replay: one launch instead of one for each kernel.
 */
export class OrtSession implements BucketSession {
  private readonly binding: Pointer;
  private readonly inputs = new Map<string, TensorMemory>();
  /** The bound outputs, by name. Each run computes all of them. */
  private readonly outputs = new Map<string, Output>();
  /** Number of the captured graph. */
  private graph = 0;
  /** Options of the runs that capture or replay it; undefined until the next one captures. */
  private options: Pointer | undefined;

  private constructor(
    private readonly api: OrtApi,
    private readonly session: Pointer,
    private readonly memory: Memory,
    private readonly isCuda: boolean,
  ) {
    this.binding = api.create('CreateIoBinding', session);
  }

  /**
   * @param model an ONNX graph
   * @throws Error whatever ONNX Runtime reports: on CUDA, also if a node is not on the GPU
   */
  static open(api: OrtApi, model: Uint8Array, { device, threads, weights }: OrtSessionOptions): OrtSession {
    const options = api.create('CreateSessionOptions');
    try {
      api.call('SetSessionLogSeverityLevel', options, LOG_FATAL);
      api.call('SetIntraOpNumThreads', options, threads);
      api.call('SetInterOpNumThreads', options, 1);
      const configure = (key: string, value: string) => api.call('AddSessionConfigEntry', options, key, value);
      configure('session.intra_op.allow_spinning', '0');
      if (weights !== undefined) configure('session.model_external_initializers_file_folder_path', weights);
      if (device.kind === 'cuda') appendCuda(api, options, device.index);
      const session = api.create('CreateSessionFromArray', api.env, model, model.byteLength, options);
      try {
        return new OrtSession(api, session, memoryOf(api, device), device.kind === 'cuda');
      } catch (error) {
        api.free('Session', session);
        throw error;
      }
    } finally {
      api.free('SessionOptions', options);
    }
  }

  allocate(name: string, type: string, shape: readonly number[]): InputData {
    const memory = this.memory.allocate(type, shape);
    this.api.call('BindInput', this.binding, name, memory.value);
    this.forgetGraph();
    this.inputs.get(name)?.free();
    this.inputs.set(name, memory);
    return inputData(name, type, memory.data);
  }

  async run(output: string, written: ReadonlySet<string>): Promise<OutputRow> {
    for (const name of written) this.inputs.get(name)?.upload();
    const { type, memory } = this.outputs.get(output) ?? this.bindOutput(output);
    this.options ??= this.runOptions(++this.graph);
    try {
      this.api.call('RunWithBinding', this.session, this.options, this.binding);
    } catch (error) {
      // What was captured of a run that failed must not be replayed.
      this.forgetGraph();
      throw error;
    }
    memory.download();
    return outputData(type, memory.data);
  }

  async close(): Promise<void> {
    const { api } = this;
    this.forgetGraph();
    for (const memory of this.inputs.values()) memory.free();
    for (const { memory } of this.outputs.values()) memory.free();
    api.free('IoBinding', this.binding);
    api.free('Session', this.session);
  }

  /** Runs once to learn the shape of the output, and binds it to memory of that shape. */
  private bindOutput(name: string): Output {
    const { api, session } = this;
    this.forgetGraph();
    const cpu = cpuMemoryInfo(api);
    const options = this.runOptions(NO_GRAPH);
    try {
      api.call('BindOutputToDevice', this.binding, name, cpu);
      api.call('RunWithBinding', session, options, this.binding);
    } finally {
      api.free('RunOptions', options);
      api.free('MemoryInfo', cpu);
    }
    const { type, dims } = this.boundOutput(name);
    const memory = this.memory.allocate(type, dims);
    api.call('BindOutput', this.binding, name, memory.value);
    const bound = { type, memory };
    this.outputs.set(name, bound);
    return bound;
  }

  /** Type and shape, after a run, of the output that was bound last. */
  private boundOutput(name: string): { readonly type: OutputType; readonly dims: readonly number[] } {
    const { api } = this;
    const allocator = api.create('GetAllocatorWithDefaultOptions');
    const values = api.create('GetBoundOutputValues', this.binding, allocator, BigUint64Array.of(0n));
    const bound = api.pointersAt(values, this.outputs.size + 1);
    const info = api.create('GetTensorTypeAndShape', bound[this.outputs.size]);
    const element = new Int32Array(1);
    api.call('GetTensorElementType', info, element);
    const rank = BigUint64Array.of(0n);
    api.call('GetDimensionsCount', info, rank);
    const dims = new BigInt64Array(Number(rank[0]));
    api.call('GetDimensions', info, dims, dims.length);
    api.free('TensorTypeAndShapeInfo', info);
    for (const value of bound) api.free('Value', value);
    api.call('AllocatorFree', allocator, values);
    const type = OUTPUT_TYPES.find((one) => ELEMENT_TYPES[one] === element[0]);
    if (!type) throw new Error(`output ${name} is of element type ${element[0]}, not float32 or uint8`);
    return { type, dims: Array.from(dims, Number) };
  }

  private runOptions(graph: number): Pointer {
    const options = this.api.create('CreateRunOptions');
    if (this.isCuda) this.api.call('AddRunConfigEntry', options, GRAPH_ID, String(graph));
    return options;
  }

  /** A graph reads and writes at the addresses that it was captured with. */
  private forgetGraph(): void {
    const { api, options } = this;
    if (options === undefined) return;
    this.options = undefined;
    api.free('RunOptions', options);
    // Numbers are not used again, so a graph that stays does no harm.
    if (this.isCuda) api.try('SessionReleaseCapturedGraph', this.session, this.graph);
  }
}

function appendCuda(api: OrtApi, options: Pointer, index: number): void {
  const values = {
    device_id: String(index),
    enable_cuda_graph: '1',
    // Faster for every batch size of the bundled model (2 to 8 %) and of an SD-2.1-size one (20 % at 2 rows).
    prefer_nhwc: '1',
    arena_extend_strategy: 'kSameAsRequested',
  };
  const cuda = api.create('CreateCUDAProviderOptions');
  try {
    const names = Object.keys(values);
    api.call('UpdateCUDAProviderOptions', cuda, names, Object.values(values), names.length);
    api.call('SessionOptionsAppendExecutionProvider_CUDA_V2', options, cuda);
  } finally {
    api.free('CUDAProviderOptions', cuda);
  }
}
