import type { BatchReport } from '../engine/batcher.js';

/** The seconds of decoding an image by the name of the device, as the latest run shows them. */
export class Decodings {
  /** Devices that have not decoded since their decoder was loaded. */
  private readonly prepared = new Set<string>();
  private readonly times = new Map<string, number>();

  /** A run begins. @param reloads whether it loads the decoder anew */
  begin(reloads: boolean): void {
    this.times.clear();
    if (reloads) this.prepared.clear();
  }

  /** Notes a batch of the decoder. */
  add({ device, evaluations, networkMs }: Pick<BatchReport, 'device' | 'evaluations' | 'networkMs'>): void {
    const seconds = networkMs / 1000 / evaluations;
    // The first batch may prepare the device, which every sampler waits for.
    if (this.prepared.has(device)) this.times.set(device, Math.min(seconds, this.times.get(device) ?? Infinity));
    this.prepared.add(device);
  }

  /** The shortest of each device since the run began. */
  get least(): ReadonlyMap<string, number> {
    return this.times;
  }
}
