import { availableParallelism } from 'node:os';
import { SrdsError, wholeNumber } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Batch, BatchResult, ConditioningId, Engine, GraphFile, GraphInfo } from '../engine.js';
import { brokenGraph } from './brokenGraph.js';
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
  /** Graphs to load at once; default: all. */
  readonly graphs?: readonly string[] | undefined;
  /** Gives up opening; an engine that is open pays no heed to it. */
  readonly signal?: AbortSignal | undefined;
}

/** ONNX Runtime's CPU provider, in processes of their own. Its batches are bitwise equal to single rows. */
export class CpuEngine implements Engine {
  readonly device = 'cpu';
  readonly maxRows = MAX_ROWS;
  private registrations = 0;
  private readonly loaded = new Map<string, GraphInfo>();
  /** Of graphs that are being loaded or freed: one at a time. */
  private changes: Promise<void> = Promise.resolve();

  private constructor(
    private readonly processes: readonly DeviceProcess[],
    private readonly files: Readonly<Record<string, GraphFile>>,
    private readonly threads: number,
  ) {}

  /**
   * @param files each graph's file, by the name that evaluations will use
   * @throws SrdsError INVALID_OPTION, or MODEL_INVALID if a file is no graph that ONNX Runtime can run
   */
  static async open(files: Readonly<Record<string, GraphFile>>, options: CpuEngineOptions = {}): Promise<CpuEngine> {
    const workers = wholeNumber('a number of workers', options.workers ?? 1, 1, MAX_WORKERS);
    const threads = wholeNumber(
      'a number of threads',
      options.threads ?? Math.max(1, Math.floor(availableParallelism() / workers)),
      1,
      MAX_THREADS,
    );
    options.signal?.throwIfAborted();
    const processes = Array.from({ length: workers }, () => new DeviceProcess('cpu'));
    const engine = new CpuEngine(processes, files, threads);
    const giveUp = () => void engine.close();
    options.signal?.addEventListener('abort', giveUp);
    try {
      await engine.load(options.graphs ?? Object.keys(files));
      options.signal?.throwIfAborted();
      return engine;
    } catch (error) {
      await engine.close();
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', giveUp);
    }
  }

  get graphs(): ReadonlyMap<string, GraphInfo> {
    return this.loaded;
  }

  get slots(): number {
    return this.processes.length;
  }

  /** Process ids, for those who supervise. */
  get pids(): number[] {
    return this.processes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  load(names: readonly string[]): Promise<void> {
    return this.change(async () => {
      const missing = names.filter((name) => !this.loaded.has(name));
      if (missing.length === 0) return;
      const graphs = Object.fromEntries(missing.map((name) => [name, this.files[name]]));
      const ask = async (process: DeviceProcess) =>
        loaded(await process.ask({ kind: 'load', graphs, threads: this.threads }), graphs);
      const answers = this.processes.map(ask);
      await Promise.allSettled(answers);
      const [first] = await Promise.all(answers).catch(async (error: unknown) => {
        await this.free(missing);
        throw error;
      });
      for (const [name, info] of Object.entries(first)) this.loaded.set(name, info);
    });
  }

  unload(names: readonly string[]): Promise<void> {
    return this.change(async () => {
      for (const name of names) this.loaded.delete(name);
      if (names.length > 0) await this.free(names);
    });
  }

  /** A process that is gone has freed all. */
  private async free(graphs: readonly string[]): Promise<void> {
    await Promise.allSettled(this.processes.map((process) => process.ask({ kind: 'unload', graphs })));
  }

  private change(make: () => Promise<void>): Promise<void> {
    const changed = this.changes.then(make);
    this.changes = changed.catch(() => undefined);
    return changed;
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

function loaded(reply: Reply, files: Readonly<Record<string, GraphFile>>): Readonly<Record<string, GraphInfo>> {
  if (reply.kind === 'loaded') return reply.graphs;
  const [file, why] = reply.kind === 'unloadable' ? [files[reply.graph].path, reply.message] : ['a graph', reply.kind];
  throw brokenGraph(file, why);
}
