import {
  bucketsOf,
  maxRowsOf,
  rowsOf,
  type Batch,
  type Engine,
  type Evaluation,
  type Limits,
} from '../engine/engine.js';
import { measuredHostSeconds } from './hostTime.js';
import { agree, inOrder, typical, type Measurements } from './measurements.js';

/** Time limit in seconds and maximum runs for one batch size. */
const MEASURE_SECONDS = 0.15;
const MAX_RUNS = 12;
/** Measuring takes at most this share of the serial run that it serves. */
const SHARE = 0.1;
/** Further rows are proportional if each costs at least this share of the rows before. */
const PROPORTIONAL = 0.6;
/** Evaluations of the largest batch to measure, at least, where any size will do: on a CPU it hides the cost of a call, no more. */
const CPU_EVALUATIONS = 4;

/** What to measure. */
export interface MeasureOptions {
  /** An evaluation of the network; batches are made of copies of it. */
  readonly evaluation: Evaluation;
  /** Numbers in a sample, for the cost on the host. */
  readonly sampleSize: number;
  /** Rows of the largest batch that memory suffices for. */
  readonly maxRows?: number | undefined;
  /**
   * Batches of the serial run that measuring serves: it takes a tenth of their time. A GPU, which opens a bucket for each size,
   * takes one size more than it knows in any case. Default: no limit.
   */
  readonly serialBatches?: number | undefined;
  /**
   * Whether to measure the smallest batch within that limit although nothing says how long it takes, as for servers, whose sessions are
   * open; default: only where there are buckets, since the first batch of a CPU may take as long as many others.
   */
  readonly measuresFirst?: boolean | undefined;
  /** What is known from before, to be extended. */
  readonly known?: Measurements | undefined;
  /** Stops measuring. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds since some moment; default: those of the machine. */
  readonly now?: (() => number) | undefined;
}

/** Equal devices to measure: an engine, or a group of its devices. */
export type MeasuredDevices = Limits & Pick<Engine, 'run'>;

/**
 * Measures the seconds of batches by their rows on equal devices: on all devices at once, as parallel samplers use them, and on one
 * device alone, as the serial sampler does. The slowest device counts. With a time limit, an engine without buckets is measured only
 * once the time of its smallest batch is known from a run (`withSerialTimes`), unless `measuresFirst` says otherwise.
 * @throws SrdsError ENGINE_FAILED if a device fails; the reason of an abort
 */
export async function measureCurve(engine: MeasuredDevices, options: MeasureOptions): Promise<Measurements> {
  const { sampleSize, serialBatches = Infinity, known, now = machineTime } = options;
  const start = now();
  const hostSeconds = known?.hostSeconds || (await measuredHostSeconds(sampleSize));
  const measuring = new Measuring(engine, options, hostSeconds);
  const smallest = smallestOf(known);
  if (smallest === undefined && !measuresUnknown(engine, options)) return measuring.result();
  const budget = () => SHARE * serialBatches * (smallest ?? measuring.smallest ?? Infinity);
  const hasTime = (seconds: number) => (now() - start) / 1000 + seconds <= budget();
  await measuring.extend(hasTime);
  await measuring.confirm(hasTime);
  return measuring.result();
}

/** Whether `measureCurve` adds anything to what is known. */
export function canMeasure(engine: MeasuredDevices, options: MeasureOptions): boolean {
  const { known, serialBatches = Infinity } = options;
  if (isComplete(known, options.maxRows)) return false;
  const smallest = smallestOf(known);
  if (smallest === undefined) return measuresUnknown(engine, options);
  const budget = SHARE * serialBatches * smallest;
  return new Measuring(engine, options, 0).canExtend((seconds) => seconds <= budget);
}

/** Whether nothing is left to measure. @param maxRows of the largest batch that memory suffices for */
export function isComplete(known: Measurements | undefined, maxRows = Infinity): boolean {
  return known?.complete === true && maxRows <= (known.limit ?? Infinity);
}

/** Seconds of the smallest batch. */
function smallestOf(known: Measurements | undefined): number | undefined {
  return known?.aloneSeconds ?? known?.points.at(0)?.seconds;
}

/** Whether to measure although nothing says how long the smallest batch takes. */
function measuresUnknown(engine: MeasuredDevices, options: MeasureOptions): boolean {
  const { evaluation, serialBatches = Infinity, measuresFirst = false } = options;
  const hasBuckets = bucketsOf(engine, evaluation.graph).length > 0;
  return hasBuckets || serialBatches === Infinity || (measuresFirst && SHARE * serialBatches >= 1);
}

class Measuring {
  private points: Measurements['points'];
  private sizes: readonly number[];
  /** Whether memory does not suffice now for all sizes that the engine has. */
  private isLimited: boolean;
  private readonly rowsEach: number;
  private readonly padded: boolean;
  /** Batches whose time was measured here, with all their times. */
  private readonly timed = new Map<number, number[]>();
  private alone: number | undefined;
  /** Seconds of the first batch of any size, where no bucket had to be opened for it. */
  private first: number | undefined;

  constructor(
    private readonly engine: MeasuredDevices,
    private readonly options: MeasureOptions,
    private readonly hostSeconds: number,
  ) {
    const { evaluation, known, maxRows = Infinity } = options;
    const each = (this.rowsEach = evaluation.conditioning?.length ?? 1);
    const buckets = bucketsOf(engine, evaluation.graph);
    this.padded = buckets.length > 0;
    // Devices may share the rows of an evaluation. Without a time limit, forecasts of more devices may ask for that.
    const least = engine.slots >= each || options.serialBatches === undefined ? 1 : each;
    const all = this.padded
      ? buckets.filter((bucket) => bucket >= least)
      : [
          ...new Set([
            least,
            ...doublings(each, Math.max(CPU_EVALUATIONS * each, maxRowsOf(engine, evaluation.graph))),
          ]),
        ];
    const fitting = all.filter((rows) => rows <= maxRows);
    // An evaluation that fits no bucket runs all the same.
    this.sizes = fitting.length > 0 ? fitting : [each];
    this.isLimited = fitting.length < all.length;
    this.points = known?.points ?? [];
    this.alone = known?.aloneSeconds;
  }

  get smallest(): number | undefined {
    return this.points.at(0)?.seconds ?? this.first;
  }

  /** Measures larger and larger batches, until their rows cost the same each. */
  async extend(hasTime: (seconds: number) => boolean): Promise<void> {
    let { free } = this;
    for (;;) {
      const rows = this.next();
      if (rows === undefined) break;
      if (!this.isAffordable(rows, free, hasTime)) return;
      if (this.isNew(rows)) free--;
      if (!(await this.measure(rows, hasTime))) break;
    }
    if (this.lacksAlone) this.alone = typical(await this.round(this.aloneRows, () => true, 1));
  }

  /** Whether `extend` measures anything, or finds that nothing is left to measure. */
  canExtend(hasTime: (seconds: number) => boolean): boolean {
    const rows = this.next();
    return rows === undefined ? this.lacksAlone || this.result().complete : this.isAffordable(rows, this.free, hasTime);
  }

  /** Measures again what one measurement alone says. A machine that was idle needs some time to reach its speed. */
  async confirm(hasTime: (seconds: number) => boolean): Promise<void> {
    for (const { rows, steady, seconds } of this.points) {
      // Once a bucket is open, a batch of it takes milliseconds.
      if (!steady && this.timed.has(rows) && (this.padded || hasTime(seconds))) await this.measure(rows, hasTime);
    }
  }

  result(): Measurements {
    const { points, hostSeconds, alone } = this;
    const isProportional = this.isProportional();
    const isLast = isProportional || points.at(-1)?.rows === this.sizes.at(-1);
    const complete = points.length > 0 && isLast && points.every(({ steady }) => steady);
    const limit = this.isLimited && !isProportional ? this.options.maxRows : undefined;
    return { points, hostSeconds, aloneSeconds: alone, complete, limit };
  }

  /** Sizes that are measured however long they take. */
  private get free(): number {
    if (!this.padded) return 0;
    return this.points.length === 0 ? 2 : 1;
  }

  private get aloneRows(): number {
    return Math.max(this.sizes[0], this.rowsEach);
  }

  private get lacksAlone(): boolean {
    const { maxRows = Infinity } = this.options;
    return this.engine.slots > 1 && this.alone === undefined && this.aloneRows <= maxRows;
  }

  private isNew(rows: number): boolean {
    return this.points.every((one) => one.rows !== rows);
  }

  private isAffordable(rows: number, free: number, hasTime: (seconds: number) => boolean): boolean {
    return (this.padded && !this.isNew(rows)) || free > 0 || hasTime(this.expected(rows));
  }

  /** Rows to measure next: those of a point that an earlier process left unconfirmed, or the next size. */
  private next(): number | undefined {
    const open = this.points.find(({ rows, steady }) => !steady && !this.timed.has(rows));
    if (open) return open.rows;
    return this.isProportional() ? undefined : this.sizes.find((rows) => rows > (this.points.at(-1)?.rows ?? 0));
  }

  /** Larger batches cost memory and add nothing once rows cost the same each. With buckets one outlier is allowed. */
  private isProportional(): boolean {
    const last = this.points.slice(this.padded ? -3 : -2);
    if (last.length < (this.padded ? 3 : 2)) return false;
    return last.slice(1).every((larger, k) => {
      const smaller = last[k];
      const further = (larger.seconds - smaller.seconds) / (larger.rows - smaller.rows);
      return further > (PROPORTIONAL * smaller.seconds) / smaller.rows;
    });
  }

  /** Seconds of a batch if its rows cost as much each as those of the largest one so far. */
  private expected(rows: number): number {
    const last = this.points.findLast((one) => one.rows <= rows);
    if (last) return (last.seconds * rows) / last.rows;
    return ((this.alone ?? 0) * this.engine.slots * rows) / this.rowsEach;
  }

  /** @returns whether the engine kept the bucket: it gives up those that memory does not suffice for */
  private async measure(rows: number, hasTime: (seconds: number) => boolean): Promise<boolean> {
    const isFirst = !this.timed.has(rows);
    // The first run opens the bucket.
    if (isFirst && this.padded) await this.run(rows);
    if (this.padded && this.points.length > 0 && rows > maxRowsOf(this.engine, this.options.evaluation.graph)) {
      this.sizes = this.sizes.filter((size) => size < rows);
      this.isLimited = false;
      return false;
    }
    const times = await this.round(rows, hasTime);
    const before = this.timed.get(rows) ?? [];
    const earlier = isFirst ? this.points.find((one) => one.rows === rows)?.seconds : typical(before);
    const all = [...before, ...times];
    this.timed.set(rows, all);
    const steady = earlier !== undefined && agree(earlier, typical(times));
    this.points = inOrder([...this.points.filter((one) => one.rows !== rows), { rows, seconds: typical(all), steady }]);
    return true;
  }

  private async round(
    rows: number,
    hasTime: (seconds: number) => boolean,
    devices = this.engine.slots,
  ): Promise<number[]> {
    const times = [await this.run(rows, devices)];
    if (!this.padded) this.first ??= times[0];
    const runs = Math.min(MAX_RUNS, Math.ceil(MEASURE_SECONDS / times[0]));
    while (times.length < runs && hasTime(times[0])) times.push(await this.run(rows, devices));
    return times;
  }

  private async run(rows: number, devices = this.engine.slots): Promise<number> {
    this.options.signal?.throwIfAborted();
    const { evaluation, now = machineTime } = this.options;
    const batch = batchOf(evaluation, rows);
    const start = now();
    await Promise.all(Array.from({ length: devices }, () => this.engine.run(batch)));
    return (now() - start) / 1000;
  }
}

function machineTime(): number {
  return performance.now();
}

/** A number and its doubles, as far as they are at most `most`. */
function doublings(from: number, most: number): number[] {
  return from > most ? [] : [from, ...doublings(2 * from, most)];
}

/** Copies of an evaluation with so many rows together, or one row of it. */
function batchOf(evaluation: Evaluation, rows: number): Batch {
  const { conditioning = [] } = evaluation;
  if (rows < conditioning.length) return [{ ...evaluation, conditioning: conditioning.slice(0, rows) }];
  return Array.from({ length: Math.max(1, Math.floor(rows / rowsOf(evaluation))) }, () => evaluation);
}
