/** How the rows of a batch are sent: in one request, or in one each where the server makes batches of requests. */
export type Batching = 'explicit' | 'single';

/** Tries of each way before one is chosen. The first of a way may open sessions on the server. */
const TRIES = 3;

/** Chooses by their times how the rows of batches are sent. */
export class BatchingChoice {
  private readonly fastest: Readonly<Record<Batching, Map<number, number[]>>> = {
    explicit: new Map(),
    single: new Map(),
  };
  private chosen: Batching | undefined;

  /** @param wanted `auto`: as measured @param batchesRequests whether the server makes batches of requests */
  constructor(wanted: Batching | 'auto', batchesRequests: boolean) {
    if (wanted !== 'auto') this.chosen = wanted;
    else if (!batchesRequests) this.chosen = 'explicit';
  }

  /** How to send the next batch of so many rows. */
  next(rows: number): Batching {
    if (this.chosen !== undefined || rows === 1) return this.chosen ?? 'explicit';
    return this.triesOf('single', rows) < this.triesOf('explicit', rows) ? 'single' : 'explicit';
  }

  /** Notes the time of a batch. */
  add(batching: Batching, rows: number, milliseconds: number): void {
    if (this.chosen !== undefined || rows === 1) return;
    const times = this.fastest[batching];
    times.set(rows, [...(times.get(rows) ?? []), milliseconds]);
    if (this.triesOf('explicit', rows) < TRIES || this.triesOf('single', rows) < TRIES) return;
    const least = (way: Batching) => Math.min(...(this.fastest[way].get(rows) ?? []));
    this.chosen = least('single') < least('explicit') ? 'single' : 'explicit';
  }

  private triesOf(batching: Batching, rows: number): number {
    return this.fastest[batching].get(rows)?.length ?? 0;
  }
}
