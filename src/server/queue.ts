import { byPriority } from '../run/nextBatch.js';
import { sum } from '../statistics.js';
import { ApiError } from './apiError.js';

/**
 * A model that is in memory, or fits there, is `ready`. Another one is `idle` if it can take the place of models that nobody uses, and
 * has to wait for the `busy` ones otherwise.
 */
export type ModelPlace = 'ready' | 'idle' | 'busy';

/** A job that wants a turn. */
export interface Job {
  /** The client's API key; clients share the turns fairly. */
  readonly key: string;
  /** Among the jobs of one key, higher priorities run first. */
  readonly priority: number;
  /** Where its model stands now; absent: `ready`. */
  readonly place?: () => ModelPlace;
  /** Aborted when the job no longer wants a turn. */
  readonly signal: AbortSignal;
  /** Called when the queue accepts the job, before its turn, and whenever the number of jobs that go before it changes. */
  readonly onAhead?: (ahead: number) => void;
}

/** How often a job whose model is not in memory lets others pass. */
const MAX_PASSES = 16;

interface Waiting {
  readonly job: Job;
  passes: number;
  readonly admit: () => void;
  readonly refuse: (reason: unknown) => void;
  /** The number of jobs before it that was reported last; -1: none yet. */
  ahead: number;
}

/**
 * A fair queue with a limit on running and on waiting jobs. The next job belongs to the key with the fewest running jobs, or among
 * equals to the one that was served longest ago; of that key's jobs it has the highest priority, in the order of arrival. While its model
 * is not in memory, jobs whose models are go first, but only so many of them: models would be loaded again and again. A full queue
 * evicts: a job of the key with most waiting jobs for a key that has fewer, and a key's lower priority for its own higher one.
 */
export class Queue {
  private readonly waiting: Waiting[] = [];
  private readonly running = new Map<string, number>();
  /** The turn at which each key was last served. */
  private readonly served = new Map<string, number>();
  private turns = 0;
  /** Moving mean of a job's duration. */
  private meanSeconds = 1;
  private isAnnouncing = false;

  /**
   * @param concurrency jobs that run at once
   * @param capacity jobs that may wait
   */
  constructor(
    readonly concurrency: number,
    readonly capacity: number,
  ) {}

  get waitingCount(): number {
    return this.waiting.length;
  }

  get runningCount(): number {
    return sum(this.running.values());
  }

  /**
   * Waits for a turn.
   * @returns ends the turn; the caller calls it once
   * @throws ApiError 429 at once if the queue is full; later 429 if the job is evicted, or the signal's reason
   */
  async enter(job: Job): Promise<() => void> {
    job.signal.throwIfAborted();
    await this.turn(job);
    const begun = performance.now();
    return () => {
      this.count(job.key, -1);
      this.meanSeconds += 0.2 * ((performance.now() - begun) / 1000 - this.meanSeconds);
      this.next();
    };
  }

  private turn(job: Job): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.remove(entry);
        reject(job.signal.reason);
        // Jobs behind it may have waited for its model.
        this.next();
      };
      const ignoreAbort = () => job.signal.removeEventListener('abort', leave);
      const entry: Waiting = {
        job,
        passes: 0,
        ahead: -1,
        admit: () => {
          ignoreAbort();
          resolve();
        },
        refuse: (reason) => {
          ignoreAbort();
          reject(reason);
        },
      };
      job.signal.addEventListener('abort', leave, { once: true });
      this.waiting.push(entry);
      this.next();
      // What starts at once takes no place.
      if (this.waiting.length > this.capacity && this.evictFor(entry) === entry) return;
      report(entry, Math.max(0, this.inOrder(this.waiting).indexOf(entry)));
    });
  }

  private next(): void {
    while (this.runningCount < this.concurrency) {
      const entry = this.choose();
      if (!entry) break;
      this.remove(entry);
      this.count(entry.job.key, 1);
      entry.admit();
    }
    this.announce();
  }

  /**
   * Reports to the waiting jobs how many go before them, as it is now: jobs of other keys or models may still overtake them. Several
   * changes within one turn of the event loop cause one report.
   */
  private announce(): void {
    if (this.isAnnouncing) return;
    this.isAnnouncing = true;
    setImmediate(() => {
      this.isAnnouncing = false;
      for (const [ahead, entry] of this.inOrder(this.waiting).entries()) report(entry, ahead);
    });
  }

  /** The job to admit next; undefined if there is none, or if all had to wait for the models of running jobs. */
  private choose(): Waiting | undefined {
    const order = this.inOrder(this.waiting);
    const first = order.at(0);
    if (!first || placeOf(first) === 'ready' || first.passes >= MAX_PASSES) return first;
    const other = order.find((entry) => placeOf(entry) === 'ready');
    if (other) {
      first.passes++;
      return other;
    }
    return placeOf(first) === 'busy' && this.runningCount > 0 ? undefined : first;
  }

  /** The order in which waiting jobs have their turns if no others come and models do not matter. */
  private inOrder(waiting: readonly Waiting[]): Waiting[] {
    const lines = new Map<string, Waiting[]>();
    for (const entry of waiting) {
      const line = lines.get(entry.job.key);
      if (line) line.push(entry);
      else lines.set(entry.job.key, [entry]);
    }
    const places = [...lines].flatMap(([key, line], arrival) => {
      const running = this.running.get(key) ?? 0;
      const served = this.served.get(key) ?? 0;
      const sorted = line.toSorted((a, b) => b.job.priority - a.job.priority);
      // A key that has had a turn comes after those that are level with it.
      return sorted.map((entry, turns) => ({ entry, priority: [running + turns, turns, served, arrival] }));
    });
    return places.sort(byPriority).map(({ entry }) => entry);
  }

  private count(key: string, change: 1 | -1): void {
    const now = (this.running.get(key) ?? 0) + change;
    if (now === 0) this.running.delete(key);
    else this.running.set(key, now);
    if (change === 1) this.served.set(key, ++this.turns);
    // Forgets keys that have not been served for long; the map would grow without bound.
    for (const [old, turn] of this.served) if (turn < this.turns - 1000) this.served.delete(old);
  }

  private remove(entry: Waiting): void {
    const at = this.waiting.indexOf(entry);
    if (at >= 0) this.waiting.splice(at, 1);
  }

  /** Refuses the waiting job with the weakest claim: a new one unless another's is weaker. @returns the refused job */
  private evictFor(entry: Waiting): Waiting {
    const { key, priority } = entry.job;
    const others = this.waiting.filter((other) => other !== entry);
    const counts = new Map<string, number>();
    for (const { job } of others) counts.set(job.key, (counts.get(job.key) ?? 0) + 1);
    const [largestKey, largest] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
    const fromLargest = largestKey !== key && largest > (counts.get(key) ?? 0) + 1;
    const candidates = others.filter(({ job }) =>
      fromLargest ? job.key === largestKey : job.key === key && job.priority < priority,
    );
    const last = (a: Waiting, b: Waiting) => (b.job.priority <= a.job.priority ? b : a);
    const evicted = candidates.length > 0 ? candidates.reduce(last) : entry;
    this.remove(evicted);
    evicted.refuse(this.full());
    return evicted;
  }

  private full(): ApiError {
    const seconds = Math.max(1, Math.ceil((this.meanSeconds * (this.waiting.length + 1)) / this.concurrency));
    return new ApiError(
      429,
      'queue_full',
      `expected fewer than ${this.capacity} waiting requests, found a full queue; retry in ${seconds} s`,
      null,
      { 'retry-after': String(seconds) },
    );
  }
}

function report(entry: Waiting, ahead: number): void {
  if (entry.ahead !== ahead) entry.job.onAhead?.(ahead);
  entry.ahead = ahead;
}

function placeOf({ job }: Waiting): ModelPlace {
  return job.place?.() ?? 'ready';
}
