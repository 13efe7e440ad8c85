import { isShared } from '../onnx/graphInfo.js';
import { nextBatch, totalRows, type ClientQueue, type PendingEvaluation } from '../run/nextBatch.js';
import {
  floatRows,
  imageRows,
  maxRowsOf,
  rowsOf,
  slotsOf,
  type BatchResult,
  type Engine,
  type Evaluation,
  type OutputRow,
} from './engine.js';

/** Identifies a client of the batcher. Any object will do; evaluations with the same one share their turn. */
export type Client = object;

/** How to treat an evaluation. */
export interface RequestOptions {
  /** Lower goes first among those of a client, compared entry by entry: iteration and block of a sampler. */
  readonly priority: readonly number[];
  readonly client: Client;
  /** Whether its result may turn out to be useless; in a contended engine it gets only rows that are left over. */
  readonly speculative?: boolean;
  /** Rows of the largest batch that is worth its time; default: as many as the engine takes. */
  readonly maxRows?: number | undefined;
  /** Rows that the client may take of a batch, so that its urgent evaluations are not delayed; default: all. */
  readonly maxClientRows?: number | undefined;
  /** Rows up to which a batch is filled before other free devices get a share; default: pending rows are spread over all. */
  readonly minRows?: number | undefined;
  /** Drops the evaluation if it is still pending when aborted; a running one is finished. */
  readonly signal?: AbortSignal | undefined;
}

/** A finished batch, for traces and benchmarks. */
export interface BatchReport {
  readonly graph: string;
  readonly device: string;
  /** The options of each evaluation. */
  readonly requests: readonly RequestOptions[];
  readonly evaluations: number;
  readonly rows: number;
  /** Rows including those that pad the batch to its bucket. */
  readonly paddedRows: number;
  /** Milliseconds on the clock of `performance.now`: when the engine received the batch, and when it returned. */
  readonly begin: number;
  readonly end: number;
  /** Milliseconds inside the network. */
  readonly networkMs: number;
}

interface Pending extends PendingEvaluation {
  readonly evaluation: Evaluation;
  readonly options: RequestOptions;
  readonly resolve: (rows: readonly OutputRow[]) => void;
  readonly reject: (reason: unknown) => void;
}

interface Queue extends ClientQueue<Pending> {
  readonly pending: Pending[];
  servedRows: number;
  running: number;
  maxClientRows: number;
  /** Its latest evaluation: the next ones are expected to be alike. */
  latest: Pending;
}

/**
 * Collects evaluations from all clients and runs them as batches on one engine. Whenever the engine has a free slot, `nextBatch`
 * chooses. Where the clients fill the engine, speculative evaluations get only the rows that are left over, so samplers that
 * speculate fall back to their serial course.
 * @example
 * const batcher = new Batcher(engine, ({ rows, networkMs }) => console.log(rows, networkMs));
 * const [row] = await batcher.evaluate({ graph: 'unet', output: 'out_sample', inputs }, { priority: [0], client: {} });
 */
export class Batcher {
  private readonly queues = new Map<Client, Queue>();
  /** Pending evaluations by their signal: one listener for all, since each costs as much as a small batch of work. */
  private readonly bySignal = new WeakMap<AbortSignal, Set<Pending>>();
  private readonly delayed = new WeakSet<Client>();
  /** Batches that run, by their graph. */
  private readonly runningOf = new Map<string, number>();
  private running = 0;
  private scheduled = false;

  constructor(
    private readonly engine: Engine,
    private readonly onBatch?: (report: BatchReport) => void,
  ) {}

  /** @returns the output rows of the evaluation, one per conditioning id; owned by the caller */
  async evaluate(evaluation: Evaluation, options: RequestOptions): Promise<readonly Float32Array[]> {
    return floatRows(await this.request(evaluation, options));
  }

  /** @returns the rows of an output of images (`GraphInfo.image`), as `evaluate` does those of others */
  async evaluateImages(evaluation: Evaluation, options: RequestOptions): Promise<readonly Uint8Array[]> {
    return imageRows(await this.request(evaluation, options));
  }

  private request(evaluation: Evaluation, options: RequestOptions): Promise<readonly OutputRow[]> {
    return new Promise((resolve, reject) => {
      const { signal, client, priority, speculative = false, minRows = 0 } = options;
      if (signal?.aborted) return reject(signal.reason);
      const rows = rowsOf(evaluation);
      const maxRows = Math.min(options.maxRows ?? Infinity, maxRowsOf(this.engine, evaluation.graph));
      const key = this.keyOf(evaluation);
      const entry: Pending = {
        evaluation,
        options,
        key,
        rows,
        priority,
        speculative,
        maxRows,
        minRows,
        resolve,
        reject,
      };
      if (signal) this.listen(signal).add(entry);
      const queue = this.queues.get(client) ?? this.newQueue(entry);
      queue.latest = entry;
      queue.maxClientRows = options.maxClientRows ?? Infinity;
      queue.pending.push(entry);
      this.schedule();
    });
  }

  /** Whether the current clients fill the engine, so that a further client should not speculate. */
  get full(): boolean {
    // A client whose run has ended takes no slots, even while its last evaluations run; nor does one that was answered.
    const latest = [...this.queues.values()]
      .filter(({ pending, running }) => pending.length > 0 || running > 0)
      .map((queue) => queue.latest)
      .filter(({ options }) => !options.signal?.aborted);
    const most = Math.min(this.engine.maxRows, ...latest.map(({ maxRows }) => maxRows));
    const slots = Math.max(1, ...latest.map(({ evaluation }) => slotsOf(this.engine, evaluation.graph)));
    return totalRows(latest) >= most * slots;
  }

  /** Whether speculative evaluations of a client have waited because other clients fill the engine. */
  delaysSpeculation(client: Client): boolean {
    return this.delayed.has(client);
  }

  private listen(signal: AbortSignal): Set<Pending> {
    const known = this.bySignal.get(signal);
    if (known) return known;
    const entries = new Set<Pending>();
    this.bySignal.set(signal, entries);
    const drop = () => {
      for (const entry of entries) {
        this.remove(entry);
        entry.reject(signal.reason);
      }
      entries.clear();
    };
    signal.addEventListener('abort', drop, { once: true });
    return entries;
  }

  /** A new client starts level with the client that was served least, not ahead of all. */
  private newQueue(latest: Pending): Queue {
    const least = Math.min(...[...this.queues.values()].map(({ servedRows }) => servedRows));
    const servedRows = Number.isFinite(least) ? least : 0;
    const queue: Queue = { pending: [], servedRows, running: 0, maxClientRows: Infinity, latest };
    this.queues.set(latest.options.client, queue);
    return queue;
  }

  private remove(entry: Pending): void {
    const { client } = entry.options;
    const pending = this.queues.get(client)?.pending ?? [];
    const at = pending.indexOf(entry);
    if (at >= 0) pending.splice(at, 1);
    this.forget(client);
  }

  private forget(client: Client): void {
    const queue = this.queues.get(client);
    if (queue?.pending.length === 0 && queue.running === 0) this.queues.delete(client);
  }

  /** Later in this turn of the event loop, so that all clients that one batch has answered share the next. */
  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      for (;;) {
        const batch = this.take();
        if (batch.length === 0) break;
        void this.dispatch(batch);
      }
    });
  }

  /** Slots of the devices that run a graph and are free. Devices may run some graphs only. */
  private freeSlots(graph: string): number {
    const { slots } = this.engine;
    return Math.min(slots - this.running, slotsOf(this.engine, graph) - (this.runningOf.get(graph) ?? 0));
  }

  /** The next batch that free devices can run, taken from the queues. */
  private take(): Pending[] {
    const queues = [...this.queues.values()];
    const contended = queues.filter(({ pending }) => pending.length > 0).length > 1 && this.full;
    const batch = this.choose(queues, contended);
    if (batch.length === 0) return batch;
    const isAlike = ({ evaluation }: Pending) => evaluation.graph === batch[0].evaluation.graph;
    const shared = contended && queues.filter(({ pending }) => pending.some(isAlike)).length > 1;
    const chosen = new Set(batch);
    for (const queue of queues) {
      const left = queue.pending.filter((entry) => !chosen.has(entry));
      if (shared && left.some((entry) => entry.speculative && isAlike(entry))) {
        this.delayed.add(queue.latest.options.client);
      }
      queue.running += queue.pending.length - left.length;
      queue.pending.splice(0, queue.pending.length, ...left);
    }
    for (const { options, rows } of batch) {
      const queue = this.queues.get(options.client);
      if (queue) queue.servedRows += rows;
    }
    for (const entry of batch) if (entry.options.signal) this.bySignal.get(entry.options.signal)?.delete(entry);
    return batch;
  }

  private choose(queues: readonly Queue[], contended: boolean): Pending[] {
    const { maxRows, slots } = this.engine;
    const freeDevices = slots - this.running;
    if (freeDevices <= 0) return [];
    const batch = nextBatch(queues, { maxRows, freeDevices, contended });
    if (batch.length === 0) return batch;
    const free = this.freeSlots(batch[0].evaluation.graph);
    if (free === freeDevices) return batch;
    // Other graphs run on other devices, so those that wait for their devices do not hold up the rest.
    const able = queues.map((queue) => ({
      ...queue,
      pending: queue.pending.filter(({ evaluation }) => this.freeSlots(evaluation.graph) > 0),
    }));
    const first = nextBatch(able, { maxRows, freeDevices, contended }).at(0);
    if (first === undefined) return [];
    return nextBatch(able, { maxRows, freeDevices: this.freeSlots(first.evaluation.graph), contended });
  }

  private async dispatch(batch: readonly Pending[]): Promise<void> {
    const [{ evaluation, options: urgent }] = batch;
    const { graph } = evaluation;
    const count = (change: number) => {
      this.running += change;
      this.runningOf.set(graph, (this.runningOf.get(graph) ?? 0) + change);
    };
    count(1);
    const begin = performance.now();
    try {
      const isWanted = () => batch.some(({ options }) => options.signal?.aborted !== true);
      const result = await this.engine.run(
        batch.map(({ evaluation }) => evaluation),
        { isWanted, priority: urgent.priority, speculative: batch.every((entry) => entry.speculative) },
      );
      const end = performance.now();
      batch.forEach((entry, i) => entry.resolve(result.outputs[i]));
      if (this.onBatch) this.onBatch(reportOf(batch, result, begin, end));
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    } finally {
      count(-1);
      for (const { options } of batch) {
        const queue = this.queues.get(options.client);
        if (queue) queue.running--;
      }
      // Clients that were answered may ask again before the event loop turns.
      setImmediate(() => batch.forEach(({ options }) => this.forget(options.client)));
      this.schedule();
    }
  }

  /** Evaluations with equal keys can share a batch. An input with one value for the whole batch is part of the key. */
  private keyOf({ graph, output, inputs, conditioning, group = '' }: Evaluation): string {
    const declared = this.engine.graphs.get(graph)?.inputs;
    let key = `${graph} ${output} ${conditioning ? 'conditioned' : 'alone'} ${group}`;
    for (const [name, tensor] of Object.entries(inputs)) {
      const info = declared?.find((input) => input.name === name);
      key += ` ${name} ${info && isShared(info) ? String(tensor.data[0]) : tensor.dims.join('x')}`;
    }
    return key;
  }
}

function reportOf(batch: readonly Pending[], result: BatchResult, begin: number, end: number): BatchReport {
  return {
    graph: batch[0].evaluation.graph,
    device: result.device,
    requests: batch.map(({ options }) => options),
    evaluations: batch.length,
    rows: totalRows(batch),
    paddedRows: result.rows,
    begin,
    end,
    networkMs: 1000 * result.seconds,
  };
}
