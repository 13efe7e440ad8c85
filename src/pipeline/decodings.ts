/** The times of decoding images on the devices of a pipeline. */
export class Decodings {
  private isFirst = true;
  private seconds: number | undefined;

  /** A run begins. */
  begin(): void {
    this.seconds = undefined;
  }

  /** @param seconds of decoding an image */
  add(seconds: number): void {
    // The first one may prepare the device, which every sampler waits for.
    if (!this.isFirst) this.seconds = Math.min(seconds, this.seconds ?? Infinity);
    this.isFirst = false;
  }

  /** The shortest since the run began; undefined if there was none. */
  get least(): number | undefined {
    return this.seconds;
  }
}
