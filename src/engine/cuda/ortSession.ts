import {
  inputData,
  outputData,
  OUTPUT_TYPES,
  type BucketSession,
  type InputData,
  type OutputType,
} from '../bucketSession.js';
import { messageOf } from '../../errors.js';
import type { Processor } from '../device.js';
import type { OutputRow } from '../engine.js';
import { afterFreeing, freeAll, scoped } from './freeing.js';
import type { OrtApi, Pointer } from './ortApi.js';
import { appendCuda, withSessionOptions, type SessionSettings } from './sessionOptions.js';
import { CPU, ELEMENT_TYPES, memoryOf, withMemoryInfo, type Memory, type TensorMemory } from './tensorMemory.js';

/** Values that a session takes as initializers of its graph, by name. */
export interface SharedValues {
  readonly values: ReadonlyMap<string, Pointer>;
  /** Says that the session does not use them any more. */
  readonly release: () => void;
}

/** The bound output. */
interface Output {
  readonly name: string;
  readonly type: OutputType;
  readonly memory: TensorMemory;
}

/** Run option that names a captured CUDA graph, and its value for a run that is neither captured nor replayed. */
const GRAPH_ID = 'gpu_graph_id';
const NO_GRAPH = -1;
/** Run option that names devices whose memory is freed after the run. */
const SHRINK = 'memory.enable_memory_arena_shrinkage';
/** What ONNX Runtime's `ValidateAndParseShrinkArenaString` reports of a device whose memory is not kept. */
const NO_ARENA = /arena based allocator/;
/** Options of the CUDA provider. */
const CAPTURED = {
  enable_cuda_graph: '1',
  // Faster for every batch size of the bundled model (2 to 8 %) and of an SD-2.1-size one (20 % at 2 rows).
  prefer_nhwc: '1',
};

/**
 * A bucket's session in ONNX Runtime's C API. Inputs and output are bound to memory that stays. On CUDA, the first run captures a CUDA
 * graph, which the others replay: one launch instead of one for each kernel.
 */
export class OrtSession implements BucketSession {
  private readonly binding: Pointer;
  private readonly inputs = new Map<string, TensorMemory>();
  private output: Output | undefined;
  /** Number of the captured graph. */
  private graph = 0;
  /** Options of the runs that capture or replay it; undefined until the next one captures. */
  private options: Pointer | undefined;

  private constructor(
    private readonly api: OrtApi,
    private readonly session: Pointer,
    private readonly memory: Memory,
    private readonly device: Processor,
    private readonly constants: SharedValues | undefined,
  ) {
    this.binding = api.create('CreateIoBinding', session);
  }

  /**
   * @param model an ONNX graph
   * @param constants of the graph that other sessions have, too
   * @throws Error whatever ONNX Runtime reports: on CUDA, also if a node is not on the GPU
   */
  static open(api: OrtApi, model: Uint8Array, settings: SessionSettings, constants?: SharedValues): OrtSession {
    const session = withSessionOptions(api, settings, (options) => {
      const { device, searches = true } = settings;
      // By default ONNX Runtime times all algorithms.
      const more = searches ? CAPTURED : { ...CAPTURED, cudnn_conv_algo_search: 'HEURISTIC' };
      if (device.kind === 'cuda') appendCuda(api, options, device, more);
      for (const [name, value] of constants?.values ?? []) api.call('AddInitializer', options, name, value);
      return api.create('CreateSessionFromArray', api.env, model, model.byteLength, options);
    });
    try {
      return new OrtSession(api, session, memoryOf(api, settings.device), settings.device, constants);
    } catch (error) {
      throw afterFreeing(error, () => api.free('Session', session));
    }
  }

  allocate(name: string, type: string, shape: readonly number[]): InputData {
    const memory = this.memory.allocate(type, shape);
    try {
      this.api.call('BindInput', this.binding, name, memory.value);
    } catch (error) {
      throw afterFreeing(error, () => memory.free());
    }
    this.forgetGraph();
    const former = this.inputs.get(name);
    this.inputs.set(name, memory);
    former?.free();
    return inputData(name, type, memory.data);
  }

  async run(output: string, written: ReadonlySet<string>): Promise<OutputRow> {
    for (const name of written) this.inputs.get(name)?.upload();
    const { type, memory } = this.output?.name === output ? this.output : this.bindOutput(output);
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

  /** @throws Error the first of CUDA's, after it has freed what it can */
  async close(): Promise<void> {
    const { api } = this;
    freeAll([
      () => this.forgetGraph(),
      ...[...this.inputs.values()].map((memory) => () => memory.free()),
      () => this.output?.memory.free(),
      () => api.free('IoBinding', this.binding),
      () => api.free('Session', this.session),
      () => this.constants?.release(),
    ]);
  }

  /** Runs once to learn the shape of the output, and binds it to memory of that shape. */
  private bindOutput(name: string): Output {
    const { api } = this;
    this.forgetGraph();
    const former = this.output;
    this.output = undefined;
    former?.memory.free();
    withMemoryInfo(api, CPU, (info) => api.call('BindOutputToDevice', this.binding, name, info));
    this.runAndShrink();
    const { type, dims } = this.boundOutput(name);
    const memory = this.memory.allocate(type, dims);
    try {
      api.call('BindOutput', this.binding, name, memory.value);
    } catch (error) {
      throw afterFreeing(error, () => memory.free());
    }
    return (this.output = { name, type, memory });
  }

  /**
   * Runs, and frees the memory that is not in use then: the next runs have a plan, and need neither what this one took piece by piece nor
   * the weights that kernels have in another layout.
   */
  private runAndShrink(): void {
    const { kind, index } = this.device;
    try {
      this.runOnce({ [SHRINK]: kind === 'cuda' ? `gpu:${index}` : 'cpu:0' });
    } catch (error) {
      // Without an arena there is nothing to free.
      if (!NO_ARENA.test(messageOf(error))) throw error;
      this.runOnce({});
    }
  }

  /** Runs without a graph. @param entries of the run's options */
  private runOnce(entries: Readonly<Record<string, string>>): void {
    scoped((defer) => {
      const options = this.runOptions(NO_GRAPH, entries);
      defer(() => this.api.free('RunOptions', options));
      this.api.call('RunWithBinding', this.session, options, this.binding);
    });
  }

  /** Type and shape of the bound output after a run. */
  private boundOutput(name: string): { readonly type: OutputType; readonly dims: readonly number[] } {
    const { api } = this;
    return scoped((defer) => {
      const allocator = api.create('GetAllocatorWithDefaultOptions');
      const values = api.create('GetBoundOutputValues', this.binding, allocator, BigUint64Array.of(0n));
      defer(() => api.call('AllocatorFree', allocator, values));
      const value = api.pointerAt(values);
      defer(() => api.free('Value', value));
      const info = api.create('GetTensorTypeAndShape', value);
      defer(() => api.free('TensorTypeAndShapeInfo', info));
      const element = new Int32Array(1);
      api.call('GetTensorElementType', info, element);
      const type = OUTPUT_TYPES.find((one) => ELEMENT_TYPES[one] === element[0]);
      if (!type) throw new Error(`output ${name} is of element type ${element[0]}, not float32 or uint8`);
      return { type, dims: api.dimensions(info) };
    });
  }

  private runOptions(graph: number, more: Readonly<Record<string, string>> = {}): Pointer {
    const options = this.api.create('CreateRunOptions');
    const entries = { ...more, ...(this.device.kind === 'cuda' && { [GRAPH_ID]: String(graph) }) };
    try {
      for (const [key, value] of Object.entries(entries)) this.api.call('AddRunConfigEntry', options, key, value);
    } catch (error) {
      throw afterFreeing(error, () => this.api.free('RunOptions', options));
    }
    return options;
  }

  /** A graph reads and writes at the addresses that it was captured with. */
  private forgetGraph(): void {
    const { api, options } = this;
    if (options === undefined) return;
    this.options = undefined;
    api.free('RunOptions', options);
    // Numbers are not used again, so a graph that stays does no harm.
    if (this.device.kind === 'cuda') api.try('SessionReleaseCapturedGraph', this.session, this.graph);
  }
}
