import { isShared, type BatchResult, type Engine, type Evaluation } from './engine.js';

/** Lower runs first, compared entry by entry: iteration and block of a sampler. */
export type Priority = readonly number[];

/** A batch that has run, for traces and benchmarks. */
export interface BatchReport {
  readonly graph: string;
  readonly evaluations: number;
  readonly rows: number;
  /** Seconds inside the network. */
  readonly seconds: number;
}

interface Waiting {
  readonly evaluation: Evaluation;
  readonly priority: Priority;
  readonly key: string;
  readonly resolve: (rows: readonly Float32Array[]) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Runs evaluations from all who ask, as batches, on one engine. Whenever the engine has a free slot, the most urgent
 * evaluation that waits goes, with as many like it as fit.
 */
export class Batcher {
  private waiting: Waiting[] = [];
  private underWay = 0;
  private scheduled = false;

  constructor(
    private readonly engine: Engine,
    private readonly onBatch?: (report: BatchReport) => void,
  ) {}

  /**
   * @param priority lower runs first
   * @param signal drops the evaluation if it still waits when aborted; one under way is finished
   * @returns the output of every row, without batch axis
   */
  evaluate(evaluation: Evaluation, priority: Priority, signal?: AbortSignal): Promise<readonly Float32Array[]> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const drop = () => {
        const at = this.waiting.indexOf(entry);
        if (at < 0) return;
        this.waiting.splice(at, 1);
        reject(signal?.reason);
      };
      const settle = () => signal?.removeEventListener('abort', drop);
      const entry: Waiting = {
        evaluation,
        priority,
        key: this.keyOf(evaluation),
        resolve: (rows) => (settle(), resolve(rows)),
        reject: (reason) => (settle(), reject(reason)),
      };
      signal?.addEventListener('abort', drop, { once: true });
      this.waiting.push(entry);
      this.schedule();
    });
  }

  /** Later in this turn of the event loop, so that all who are waked by one batch share the next. */
  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      while (this.underWay < this.engine.slots && this.waiting.length > 0) void this.dispatch(this.take());
    });
  }

  private take(): Waiting[] {
    this.waiting.sort((a, b) => compare(a.priority, b.priority));
    const [first] = this.waiting;
    const batch: Waiting[] = [];
    let rows = 0;
    for (const entry of this.waiting) {
      if (entry.key !== first.key) continue;
      rows += rowsOf(entry.evaluation);
      if (batch.length > 0 && rows > this.engine.maxRows) break;
      batch.push(entry);
    }
    const taken = new Set(batch);
    this.waiting = this.waiting.filter((entry) => !taken.has(entry));
    return batch;
  }

  private async dispatch(batch: Waiting[]): Promise<void> {
    this.underWay++;
    try {
      const result = await this.engine.run(batch.map((entry) => entry.evaluation));
      batch.forEach((entry, i) => entry.resolve(result.outputs[i]));
      this.report(batch, result);
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    } finally {
      this.underWay--;
      if (this.waiting.length > 0) this.schedule();
    }
  }

  private report(batch: Waiting[], { seconds }: BatchResult): void {
    const rows = batch.reduce((sum, { evaluation }) => sum + rowsOf(evaluation), 0);
    this.onBatch?.({ graph: batch[0].evaluation.graph, evaluations: batch.length, rows, seconds });
  }

  /** Evaluations with equal keys can share a batch. An input that the batch shares is part of the key. */
  private keyOf({ graph, output, inputs, conditioning }: Evaluation): string {
    const declared = this.engine.graphs.get(graph)?.inputs;
    const shapes = Object.entries(inputs).map(([name, tensor]) => {
      const info = declared?.find((input) => input.name === name);
      return [name, info && isShared(info) ? String(tensor.data[0]) : tensor.dims.join('x')];
    });
    return JSON.stringify([graph, output, conditioning !== undefined, shapes]);
  }
}

function rowsOf(evaluation: Evaluation): number {
  return evaluation.conditioning?.length ?? 1;
}

function compare(a: Priority, b: Priority): number {
  for (let k = 0; k < Math.min(a.length, b.length); k++) if (a[k] !== b[k]) return a[k] - b[k];
  return a.length - b.length;
}
