import { ApiError } from './apiError.js';

/** Who wants to run something. */
export interface Job {
  /** Whose turns are shared fairly with those of others: an API key. */
  readonly key: string;
  /** Higher goes first among those of a key. */
  readonly priority: number;
  readonly signal: AbortSignal;
}

interface Waiting {
  readonly visitor: Job;
  readonly admit: () => void;
  readonly refuse: (reason: unknown) => void;
}

/**
 * Lets so many run at once and so many wait. Who is next: of the key that has the fewest running and was served
 * longest ago, the one of the highest priority, in the order of arrival. When it is full, the key that waits most gives a place to
 * one that waits less, and a key's own lower priorities to higher ones.
 */
export class Queue {
  private readonly waiting: Waiting[] = [];
  private readonly running = new Map<string, number>();
  /** When a key was last served, in turns. */
  private readonly served = new Map<string, number>();
  private turns = 0;
  private secondsEach = 1;

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
   * @returns ends it; to be called once
   * @throws ApiError 429 at once if too many wait; later the signal's reason if it is aborted, or 429 for another's sake
   */
  enter(visitor: Job): Promise<() => void> {
    visitor.signal.throwIfAborted();
    if (this.waiting.length >= this.capacity && this.runningCount >= this.concurrency) this.makeRoom(visitor);
    return this.turn(visitor);
  }

  private async turn(visitor: Job): Promise<() => void> {
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.remove(entry);
        reject(visitor.signal.reason);
      };
      const entry: Waiting = {
        visitor,
        admit: () => {
          visitor.signal.removeEventListener('abort', leave);
          resolve();
        },
        refuse: (reason) => {
          visitor.signal.removeEventListener('abort', leave);
          reject(reason);
        },
      };
      visitor.signal.addEventListener('abort', leave, { once: true });
      this.waiting.push(entry);
      this.next();
    });
    const begun = performance.now();
    return () => {
      this.count(visitor.key, -1);
      // A moving mean, for what is said to those who are refused.
      this.secondsEach += 0.2 * ((performance.now() - begun) / 1000 - this.secondsEach);
      this.next();
    };
  }

  private next(): void {
    while (this.waiting.length > 0 && this.runningCount < this.concurrency) {
      const entry = this.waiting.reduce((a, b) => (this.before(b.visitor, a.visitor) ? b : a));
      this.remove(entry);
      this.count(entry.visitor.key, 1);
      entry.admit();
    }
  }

  private before(a: Job, b: Job): boolean {
    if (a.key === b.key) return a.priority > b.priority;
    const [runningA, runningB] = [this.running.get(a.key) ?? 0, this.running.get(b.key) ?? 0];
    if (runningA !== runningB) return runningA < runningB;
    return (this.served.get(a.key) ?? 0) < (this.served.get(b.key) ?? 0);
  }

  private count(key: string, change: 1 | -1): void {
    const now = (this.running.get(key) ?? 0) + change;
    if (now === 0) this.running.delete(key);
    else this.running.set(key, now);
    if (change === 1) this.served.set(key, ++this.turns);
    // Of keys that have nothing here any more only the last turn is of use, and only for a while.
    for (const [old, turn] of this.served) if (turn < this.turns - 1000) this.served.delete(old);
  }

  private remove(entry: Waiting): void {
    const at = this.waiting.indexOf(entry);
    if (at >= 0) this.waiting.splice(at, 1);
  }

  /** @throws ApiError 429 if no one who waits has less of a claim */
  private makeRoom({ key, priority }: Job): void {
    const counts = new Map<string, number>();
    for (const { visitor } of this.waiting) counts.set(visitor.key, (counts.get(visitor.key) ?? 0) + 1);
    const [greediest, most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
    const ofAnother = greediest !== key && most > (counts.get(key) ?? 0) + 1;
    const candidates = this.waiting.filter(({ visitor }) =>
      ofAnother ? visitor.key === greediest : visitor.key === key && visitor.priority < priority,
    );
    if (candidates.length === 0) throw this.full();
    const last = candidates.reduce((a, b) => (b.visitor.priority <= a.visitor.priority ? b : a));
    this.remove(last);
    last.refuse(this.full());
  }

  private full(): ApiError {
    const seconds = Math.max(1, Math.ceil((this.secondsEach * (this.waiting.length + 1)) / this.concurrency));
    return new ApiError(
      429,
      'queue_full',
      `expected fewer than ${this.capacity} requests to wait, found the queue full; ask again in ${seconds} s`,
      null,
      { 'retry-after': String(seconds) },
    );
  }
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
