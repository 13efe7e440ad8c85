import type { Bucket } from './bucket.js';

/** Buckets that stay open in a process; beyond these the least recently used one is closed. Memory may allow fewer. */
const MAX_BUCKETS = 48;

interface OpenBucket {
  /** The graph that it belongs to. */
  readonly graph: object;
  readonly key: string;
  readonly bucket: Bucket;
}

/** The open buckets of all graphs of a process. A process runs one batch at a time, so all but the bucket of that batch are idle. */
export class BucketPool {
  /** Least recently used first. */
  private open: readonly OpenBucket[] = [];
  private closedSome = false;

  /** The bucket of a graph with a key, opened unless it is open. */
  async get(graph: object, key: string, openNew: () => Promise<Bucket>): Promise<Bucket> {
    const bucket = this.find(graph, key) ?? (await openNew());
    this.open = [...this.open.filter((one) => one.bucket !== bucket), { graph, key, bucket }];
    if (this.open.length > MAX_BUCKETS) await this.closeAll(this.open.slice(0, 1));
    return bucket;
  }

  /** The bucket of a graph with a key, if it is open. */
  find(graph: object, key: string): Bucket | undefined {
    return this.open.find((one) => one.graph === graph && one.key === key)?.bucket;
  }

  /** Closes the buckets of a graph that satisfy a condition. */
  async close(graph: object, isUnwanted: (bucket: Bucket) => boolean): Promise<void> {
    await this.closeAll(this.open.filter((one) => one.graph === graph && isUnwanted(one.bucket)));
  }

  /**
   * Makes room in memory for a bucket, open or not: closes it and the half of the others that were not used for the longest time.
   * @returns whether there were others
   */
  async makeRoomFor(graph: object, key: string): Promise<boolean> {
    const own = this.open.filter((one) => one.graph === graph && one.key === key);
    const others = this.open.filter((one) => !own.includes(one));
    await this.closeAll([...own, ...others.slice(0, Math.ceil(others.length / 2))]);
    return others.length > 0;
  }

  /** Whether buckets were closed since the last call. */
  takeClosed(): boolean {
    const { closedSome } = this;
    this.closedSome = false;
    return closedSome;
  }

  private async closeAll(unwanted: readonly OpenBucket[]): Promise<void> {
    this.open = this.open.filter((one) => !unwanted.includes(one));
    this.closedSome ||= unwanted.length > 0;
    const closing = await Promise.allSettled(unwanted.map(({ bucket }) => bucket.close()));
    for (const result of closing) if (result.status === 'rejected') throw result.reason;
  }
}
