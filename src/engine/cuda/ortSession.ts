import type { Device } from '../device.js';
import { inputData, type BucketSession, type InputData } from '../bucketSession.js';
import { LOG_FATAL, type OrtApi, type Pointer } from './ortApi.js';
import { cpuMemoryInfo, memoryOf, type Memory, type TensorMemory } from './tensorMemory.js';

/** How to open a session. */
export interface OrtSessionOptions {
  readonly device: Device;
  /** Threads on the CPU. */
  readonly threads: number;
  /** Folder of the weights that the graph refers to. */
  readonly weights: string | undefined;
}

/** Run option that names a captured CUDA graph, and its value for a run that is neither captured nor replayed. */
const GRAPH_ID = 'gpu_graph_id';
const NO_GRAPH = '-1';

/**
 * A network's session for batches of any size, in ONNX Runtime's C API. Each bucket binds its tensors to it. On CUDA, the first run
 * of a bucket captures a CUDA graph, which the others replay; the buckets share the weights and the memory of what is computed
 * in between.
 */
export class OrtSession {
  private graphs = 0;

  private constructor(
    readonly api: OrtApi,
    readonly session: Pointer,
    readonly memory: Memory,
    private readonly device: Device,
  ) {}

  /**
   * @param model an ONNX graph
   * @throws Error whatever ONNX Runtime reports: on CUDA, also if a node other than those of shapes is not on the GPU
   */
  static open(api: OrtApi, model: Uint8Array, { device, threads, weights }: OrtSessionOptions): OrtSession {
    const options = api.create('CreateSessionOptions');
    try {
      api.call('SetSessionLogSeverityLevel', options, LOG_FATAL);
      api.call('SetIntraOpNumThreads', options, threads);
      api.call('SetInterOpNumThreads', options, 1);
      const config = (key: string, value: string) => api.call('AddSessionConfigEntry', options, key, value);
      config('session.intra_op.allow_spinning', '0');
      if (weights !== undefined) config('session.model_external_initializers_file_folder_path', weights);
      if (device.kind === 'cuda') appendCuda(api, options, device.index);
      const session = api.create('CreateSessionFromArray', api.env, model, model.byteLength, options);
      return new OrtSession(api, session, memoryOf(api, device), device);
    } finally {
      api.free('SessionOptions', options);
    }
  }

  /** The session of a bucket, with tensors of its own. */
  bind(): BucketSession {
    return new OrtBinding(this);
  }

  /** Run options that capture a new graph, or those of runs without one. */
  runOptions(captures: boolean): { readonly options: Pointer; readonly graph: number | undefined } {
    const { api } = this;
    const options = api.create('CreateRunOptions');
    if (this.device.kind !== 'cuda') return { options, graph: undefined };
    const graph = captures ? ++this.graphs : undefined;
    api.call('AddRunConfigEntry', options, GRAPH_ID, graph === undefined ? NO_GRAPH : String(graph));
    return { options, graph };
  }

  /** Frees the session; its buckets must be closed. */
  close(): void {
    this.api.free('Session', this.session);
  }
}

/** The tensors of a bucket. */
class OrtBinding implements BucketSession {
  private readonly binding: Pointer;
  private readonly inputs = new Map<string, TensorMemory>();
  private output: { readonly name: string; readonly memory: TensorMemory } | undefined;
  /** Inputs whose memory is new. */
  private readonly allocated = new Set<string>();
  private captured: ReturnType<OrtSession['runOptions']> | undefined;

  constructor(private readonly owner: OrtSession) {
    this.binding = owner.api.create('CreateIoBinding', owner.session);
  }

  allocate(name: string, type: string, shape: readonly number[]): InputData {
    const { api } = this.owner;
    this.inputs.get(name)?.free();
    this.inputs.delete(name);
    // A graph reads from the addresses that it was captured with.
    this.release();
    const memory = this.owner.memory.allocate(type, shape);
    this.inputs.set(name, memory);
    this.allocated.add(name);
    api.call('BindInput', this.binding, name, memory.value);
    return inputData(name, type, memory.data);
  }

  async run(output: string, written: ReadonlySet<string>): Promise<Float32Array> {
    const { api, session } = this.owner;
    for (const name of new Set([...written, ...this.allocated])) this.inputs.get(name)?.upload();
    this.allocated.clear();
    if (this.output?.name !== output) this.bindOutput(output);
    this.captured ??= this.owner.runOptions(true);
    api.call('RunWithBinding', session, this.captured.options, this.binding);
    const memory = this.output?.memory;
    memory?.download();
    return new Float32Array(memory?.data ?? new ArrayBuffer(0));
  }

  async close(): Promise<void> {
    this.release();
    for (const memory of this.inputs.values()) memory.free();
    this.output?.memory.free();
    this.owner.api.free('IoBinding', this.binding);
  }

  /** Runs once to learn the shape of the output, and binds it to memory of that shape. */
  private bindOutput(name: string): void {
    const { api, session, memory } = this.owner;
    this.release();
    this.output?.memory.free();
    this.output = undefined;
    api.call('BindOutputToDevice', this.binding, name, cpuMemoryInfo(api));
    const { options } = this.owner.runOptions(false);
    api.call('RunWithBinding', session, options, this.binding);
    api.free('RunOptions', options);
    const bound = memory.allocate('float32', this.outputShape());
    api.call('BindOutput', this.binding, name, bound.value);
    this.output = { name, memory: bound };
  }

  /** Shape of the one bound output after a run. */
  private outputShape(): number[] {
    const { api } = this.owner;
    const allocator = api.create('GetAllocatorWithDefaultOptions');
    const values = api.create('GetBoundOutputValues', this.binding, allocator, BigUint64Array.of(0n));
    const value = api.pointerAt(values);
    const info = api.create('GetTensorTypeAndShape', value);
    const rank = BigUint64Array.of(0n);
    api.call('GetDimensionsCount', info, rank);
    const dims = new BigInt64Array(Number(rank[0]));
    api.call('GetDimensions', info, dims, dims.length);
    api.free('TensorTypeAndShapeInfo', info);
    api.free('Value', value);
    api.call('AllocatorFree', allocator, values);
    return Array.from(dims, Number);
  }

  /** Forgets the captured graph. */
  private release(): void {
    const { api, session } = this.owner;
    if (!this.captured) return;
    const { options, graph } = this.captured;
    if (graph !== undefined) api.call('SessionReleaseCapturedGraph', session, graph);
    api.free('RunOptions', options);
    this.captured = undefined;
  }
}

function appendCuda(api: OrtApi, options: Pointer, index: number): void {
  const cuda = api.create('CreateCUDAProviderOptions');
  const values = {
    device_id: String(index),
    enable_cuda_graph: '1',
    prefer_nhwc: process.env['SRDS_NHWC'] ?? '1',
    arena_extend_strategy: 'kSameAsRequested',
  };
  try {
    const names = Object.keys(values);
    api.call('UpdateCUDAProviderOptions', cuda, names, Object.values(values), names.length);
    api.call('SessionOptionsAppendExecutionProvider_CUDA_V2', options, cuda);
  } finally {
    api.free('CUDAProviderOptions', cuda);
  }
}
