import { availableParallelism } from 'node:os';
import { SrdsError, wholeNumber } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Batch, BatchResult, ConditioningId, Engine, GraphInfo } from '../engine.js';
import { DeviceProcess } from './process.js';
import type { Reply } from './protocol.js';

/** On a CPU rows of a batch take turns: a few hide the cost of a call, more only delay what is urgent. */
const MAX_ROWS = 8;
const MAX_WORKERS = 64;
const MAX_THREADS = 1024;

/** How to run on the CPU. */
export interface CpuEngineOptions {
  /** Threads of each process; default: all processors, shared among the processes. */
  readonly threads?: number | undefined;
  /** Processes, each with its copy of the graphs; default 1. */
  readonly workers?: number | undefined;
  /** Gives up opening; an engine that is open pays no heed to it. */
  readonly signal?: AbortSignal;
}

/** ONNX Runtime's CPU provider, in processes of their own. Its batches are bitwise equal to single rows. */
export class CpuEngine implements Engine {
  readonly device = 'cpu';
  readonly maxRows = MAX_ROWS;
  private registrations = 0;

  private constructor(
    private readonly processes: readonly DeviceProcess[],
    readonly graphs: ReadonlyMap<string, GraphInfo>,
  ) {}

  /**
   * @param files the path of each graph's .onnx file, by the name that evaluations will use
   * @throws SrdsError INVALID_OPTION, or MODEL_INVALID if a file is no graph that ONNX Runtime can run
   */
  static async open(files: Readonly<Record<string, string>>, options: CpuEngineOptions = {}): Promise<CpuEngine> {
    const workers = wholeNumber('a number of workers', options.workers ?? 1, 1, MAX_WORKERS);
    const threads = wholeNumber(
      'a number of threads',
      options.threads ?? Math.max(1, Math.floor(availableParallelism() / workers)),
      1,
      MAX_THREADS,
    );
    options.signal?.throwIfAborted();
    const processes: DeviceProcess[] = [];
    const closeAll = () => Promise.all(processes.map((process) => process.close()));
    const giveUp = () => void closeAll();
    options.signal?.addEventListener('abort', giveUp);
    try {
      while (processes.length < workers) processes.push(new DeviceProcess('cpu'));
      const [first] = await Promise.all(
        processes.map(async (process) => loaded(await process.ask({ kind: 'load', graphs: files, threads }), files)),
      );
      options.signal?.throwIfAborted();
      return new CpuEngine(processes, new Map(Object.entries(first)));
    } catch (error) {
      await closeAll();
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', giveUp);
    }
  }

  get slots(): number {
    return this.processes.length;
  }

  /** Process ids, for those who supervise. */
  get pids(): number[] {
    return this.processes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  register(inputs: Readonly<Record<string, Tensor>>): ConditioningId {
    const id = `conditioning-${this.registrations++}`;
    for (const process of this.processes) process.tell({ kind: 'register', id, inputs });
    return id;
  }

  release(id: ConditioningId): void {
    for (const process of this.processes) process.tell({ kind: 'release', id });
  }

  async run(batch: Batch): Promise<BatchResult> {
    const idlest = this.processes.reduce((best, process) => (process.load < best.load ? process : best));
    const reply = await idlest.ask({ kind: 'run', batch });
    if (reply.kind === 'done') return reply.result;
    throw new SrdsError(
      'ENGINE_FAILED',
      `graph ${batch[0].graph} to run on the cpu`,
      reply.kind === 'failed' ? reply.message : reply.kind,
      'if the size suits the model, report this as a defect',
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.close()));
  }
}

function loaded(reply: Reply, files: Readonly<Record<string, string>>): Readonly<Record<string, GraphInfo>> {
  if (reply.kind === 'loaded') return reply.graphs;
  const [file, why] = reply.kind === 'unloadable' ? [files[reply.graph], reply.message] : ['a graph', reply.kind];
  throw new SrdsError('MODEL_INVALID', `a whole ONNX graph in ${file}`, why, 'export or download the model again');
}
