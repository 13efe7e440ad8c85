import { isShared } from '../onnx/graphInfo.js';
import { type BatchResult, type Engine, type Evaluation } from './engine.js';

/** Lower runs first, compared entry by entry: iteration and block of a sampler. */
export type Priority = readonly number[];

/** Who asks: evaluations with the same one share their turn with those of others. Any object will do. */
export type Client = object;

/** How an evaluation is to be treated. */
export interface RequestOptions {
  /** Lower runs first among those of a client. */
  readonly priority: Priority;
  readonly client: Client;
  /** Whether it may turn out to have been in vain; then it only takes room that others leave. */
  readonly speculative?: boolean;
  /** Rows of the largest batch that pays; default: as many as the engine takes. */
  readonly maxRows?: number | undefined;
  /** Rows that its client takes of a batch at most, so that what is urgent for it is not delayed; default: all. */
  readonly maxClientRows?: number | undefined;
  /** Rows that a batch is filled up to before any go to another free device; default: what waits is spread over all. */
  readonly minRows?: number | undefined;
  /** Drops the evaluation if it still waits when aborted; one under way is finished. */
  readonly signal?: AbortSignal | undefined;
}

/** A batch that has run, for traces and benchmarks. */
export interface BatchReport {
  readonly graph: string;
  readonly device: string;
  /** What was asked for each evaluation. */
  readonly requests: readonly RequestOptions[];
  readonly evaluations: number;
  readonly rows: number;
  /** Rows with those that fill up its bucket. */
  readonly paddedRows: number;
  /** When it was given to the engine and when it came back, in milliseconds on the clock of `performance.now`. */
  readonly begin: number;
  readonly end: number;
  /** Seconds inside the network. */
  readonly seconds: number;
}

interface PendingEvaluation {
  readonly evaluation: Evaluation;
  readonly options: RequestOptions;
  readonly key: string;
  readonly rows: number;
  readonly resolve: (rows: readonly Float32Array[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** What a client waits for, and the rows it was given. */
interface ClientQueue {
  readonly waiting: PendingEvaluation[];
  rows: number;
  underWay: number;
  /** What it asked for last: its next evaluations are like it. */
  last: PendingEvaluation;
}

/**
 * Runs evaluations from all who ask, as batches, on one engine. Whenever the engine has a free slot, the client that
 * was given least is served first, with its most urgent evaluation and as many like it, of all clients, as fit: one of each, then
 * more of each in turn. Where the clients fill the engine, those that speculate are given only what is certain to be needed,
 * and take their serial course; speculation takes what is left then.
 */
export class Batcher {
  private readonly accounts = new Map<Client, ClientQueue>();
  private readonly listened = new WeakMap<AbortSignal, Set<PendingEvaluation>>();
  private underWay = 0;
  private scheduled = false;

  constructor(
    private readonly engine: Engine,
    private readonly onBatch?: (report: BatchReport) => void,
  ) {}

  /** @returns what the engine gives for the evaluation (`BatchResult.outputs`); the caller's to change */
  evaluate(evaluation: Evaluation, options: RequestOptions): Promise<readonly Float32Array[]> {
    return new Promise((resolve, reject) => {
      const { signal, client } = options;
      if (signal?.aborted) return reject(signal.reason);
      const rows = evaluation.conditioning?.length ?? 1;
      const entry: PendingEvaluation = { evaluation, options, key: this.keyOf(evaluation), rows, resolve, reject };
      if (signal) this.listen(signal).add(entry);
      const account = this.accounts.get(client) ?? this.newAccount(entry);
      account.last = entry;
      account.waiting.push(entry);
      this.schedule();
    });
  }

  /** The evaluations that wait and hear of a signal. One listener for all: each costs as much as a small batch of work. */
  private listen(signal: AbortSignal): Set<PendingEvaluation> {
    const known = this.listened.get(signal);
    if (known) return known;
    const entries = new Set<PendingEvaluation>();
    this.listened.set(signal, entries);
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

  /** One that is new starts level with the one that was given least, not ahead of all. */
  private newAccount(last: PendingEvaluation): ClientQueue {
    const least = Math.min(...[...this.accounts.values()].map(({ rows }) => rows));
    const rows = Number.isFinite(least) ? least : 0;
    const account: ClientQueue = { waiting: [], rows, underWay: 0, last };
    this.accounts.set(last.options.client, account);
    return account;
  }

  private remove(entry: PendingEvaluation): void {
    const { client } = entry.options;
    const waiting = this.accounts.get(client)?.waiting ?? [];
    const at = waiting.indexOf(entry);
    if (at >= 0) waiting.splice(at, 1);
    this.forget(client);
  }

  private forget(client: Client): void {
    const account = this.accounts.get(client);
    if (account?.waiting.length === 0 && account.underWay === 0) this.accounts.delete(client);
  }

  /** Whether the clients there are fill the engine, so that one more had better not speculate. */
  get full(): boolean {
    // A client whose run has ended needs no room for what is still under way.
    const lasts = [...this.accounts.values()].map(({ last }) => last).filter(({ options }) => !options.signal?.aborted);
    const needed = rowsOf(lasts);
    const most = Math.min(this.engine.maxRows, ...lasts.map(({ options }) => options.maxRows ?? Infinity));
    return needed >= most * this.engine.slots;
  }

  /** Later in this turn of the event loop, so that all who are waked by one batch share the next. */
  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      for (let free = this.engine.slots - this.underWay; free > 0; free--) {
        const batch = this.take(free);
        if (batch.length === 0) break;
        void this.dispatch(batch);
      }
    });
  }

  /** The next batch. @param free slots over which what waits is spread */
  private take(free: number): PendingEvaluation[] {
    const accounts = [...this.accounts.values()].filter(({ waiting }) => waiting.length > 0);
    if (accounts.length === 0) return [];
    for (const { waiting } of accounts) waiting.sort(moreUrgent);
    const contended = accounts.length > 1 && this.full;
    const able = accounts.filter((account) => leading(account, contended) !== undefined);
    // Among equals the newest: texts and images are asked for by clients of their own.
    const next = (able.length > 0 ? able : accounts).reduce((a, b) => (b.rows <= a.rows ? b : a));
    const first = leading(next, contended) ?? next.waiting[0];
    const queues = accounts.map((account) => ({
      account,
      entries: account.waiting.filter(({ key }) => key === first.key),
      maxClientRows: account.last.options.maxClientRows ?? Infinity,
      taken: 0,
    }));
    const all = queues.reduce(
      (sum, { entries, maxClientRows }) => sum + Math.min(rowsOf(entries), maxClientRows * free),
      0,
    );
    const most = Math.min(this.engine.maxRows, first.options.maxRows ?? Infinity);
    const room = Math.min(most, Math.max(first.rows, first.options.minRows ?? 0, Math.ceil(all / free)));

    const batch: PendingEvaluation[] = [];
    let rows = 0;
    for (const speculative of [false, true]) {
      const wanted = queues.map((queue) => ({
        queue,
        entries: queue.entries.filter((entry) => {
          const certain = contended && !isSpeculative(entry);
          return (certain || entry === leading(queue.account, contended)) !== speculative;
        }),
        next: 0,
      }));
      for (;;) {
        const left = wanted.filter(
          ({ queue: { taken, maxClientRows }, entries, next }) =>
            next < entries.length && (taken === 0 || taken + entries[next].rows <= maxClientRows),
        );
        if (left.length === 0) break;
        const turn = left.reduce((a, b) => (b.queue.account.rows < a.queue.account.rows ? b : a));
        const entry = turn.entries[turn.next];
        if (batch.length > 0 && rows + entry.rows > room) break;
        turn.next++;
        turn.queue.account.rows += entry.rows;
        turn.queue.taken += entry.rows;
        rows += entry.rows;
        batch.push(entry);
      }
    }
    const chosen = new Set(batch);
    for (const { account } of queues) {
      const left = account.waiting.filter((entry) => !chosen.has(entry));
      account.underWay += account.waiting.length - left.length;
      account.waiting.splice(0, account.waiting.length, ...left);
    }
    for (const entry of batch) if (entry.options.signal) this.listened.get(entry.options.signal)?.delete(entry);
    return batch;
  }

  private async dispatch(batch: PendingEvaluation[]): Promise<void> {
    this.underWay++;
    const begin = performance.now();
    try {
      const isWanted = () => batch.some(({ options }) => options.signal?.aborted !== true);
      const evaluations = batch.map((entry) => entry.evaluation);
      const result = await this.engine.run(evaluations, isWanted);
      const end = performance.now();
      batch.forEach((entry, i) => entry.resolve(result.outputs[i]));
      if (this.onBatch) this.onBatch(reportOf(batch, result, begin, end));
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    } finally {
      this.underWay--;
      for (const { options } of batch) {
        const account = this.accounts.get(options.client);
        if (account) account.underWay--;
      }
      // Those who were answered may ask again before the event loop turns.
      setImmediate(() => batch.forEach(({ options }) => this.forget(options.client)));
      this.schedule();
    }
  }

  /** Evaluations with equal keys can share a batch. An input that the batch shares is part of the key. */
  private keyOf({ graph, output, inputs, conditioning }: Evaluation): string {
    const declared = this.engine.graphs.get(graph)?.inputs;
    let key = `${graph} ${output} ${conditioning ? 'conditioned' : 'alone'}`;
    for (const [name, tensor] of Object.entries(inputs)) {
      const info = declared?.find((input) => input.name === name);
      key += ` ${name} ${info && isShared(info) ? String(tensor.data[0]) : tensor.dims.join('x')}`;
    }
    return key;
  }
}

function reportOf(batch: readonly PendingEvaluation[], result: BatchResult, begin: number, end: number): BatchReport {
  return {
    graph: batch[0].evaluation.graph,
    device: result.device,
    requests: batch.map(({ options }) => options),
    evaluations: batch.length,
    rows: rowsOf(batch),
    paddedRows: result.rows,
    begin,
    end,
    seconds: result.seconds,
  };
}

function rowsOf(entries: readonly PendingEvaluation[]): number {
  return entries.reduce((sum, { rows }) => sum + rows, 0);
}

function isSpeculative({ options }: PendingEvaluation): boolean {
  return options.speculative ?? false;
}

/**
 * The evaluation of a client that is never left out, or it would never get on: the most urgent one. Where the engine is full it
 * is one that is certain to be needed, so that what speculates takes its serial course; a client that has none of those waits
 * for none under way.
 */
function leading({ waiting, underWay }: ClientQueue, contended: boolean): PendingEvaluation | undefined {
  if (!contended) return waiting[0];
  return waiting.find((entry) => !isSpeculative(entry)) ?? (underWay === 0 ? waiting[0] : undefined);
}

function moreUrgent(
  { options: { priority: a } }: PendingEvaluation,
  { options: { priority: b } }: PendingEvaluation,
): number {
  for (let k = 0; k < Math.min(a.length, b.length); k++) if (a[k] !== b[k]) return a[k] - b[k];
  return a.length - b.length;
}
