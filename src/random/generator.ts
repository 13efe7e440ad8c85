import { Mt19937 } from './mt19937.js';

/** PyTorch switches to a blocked Box-Muller transform at this size. */
const BLOCK = 16;

/**
 * Standard normal numbers equal to `torch.randn(..., generator=torch.Generator('cpu').manual_seed(seed))`, float32, within
 * 2e-6. PyTorch's vectorized log, sine and cosine round differently on different processors.
 * Source: ATen/native/cpu/DistributionTemplates.h (normal_fill) and ATen/core/DistributionsHelper.h.
 * @example
 * const x = new Generator(42).randn(4 * 64 * 64);
 */
export class Generator {
  private readonly bits: Mt19937;
  /** Second number of the last pair; undefined if it has been returned. */
  private pending: number | undefined;

  /** @param seed any integer; only its lowest 32 bits are used, as in PyTorch */
  constructor(seed: number | bigint) {
    this.bits = new Mt19937(seed);
  }

  /**
   * The next normal numbers, in the order in which `torch.randn` fills a tensor of that many elements.
   * @returns [count]
   */
  randn(count: number): Float32Array {
    const out = new Float32Array(count);
    if (count < BLOCK) {
      for (let k = 0; k < count; k++) out[k] = this.scalar();
      return out;
    }
    for (let k = 0; k < count; k++) out[k] = this.uniform24();
    for (let start = 0; start + BLOCK <= count; start += BLOCK) boxMuller(out.subarray(start, start + BLOCK));
    if (count % BLOCK !== 0) {
      const tail = out.subarray(count - BLOCK);
      for (let k = 0; k < BLOCK; k++) tail[k] = this.uniform24();
      boxMuller(tail);
    }
    return out;
  }

  private scalar(): number {
    if (this.pending !== undefined) {
      const value = this.pending;
      this.pending = undefined;
      return value;
    }
    const theta = 2 * Math.PI * this.uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-this.uniform53()));
    this.pending = radius * Math.sin(theta);
    return radius * Math.cos(theta);
  }

  private uniform24(): number {
    return (this.bits.uint32() & 0xffffff) * 2 ** -24;
  }

  private uniform53(): number {
    const high = this.bits.uint32() & 0x1fffff;
    return (high * 2 ** 32 + this.bits.uint32()) * 2 ** -53;
  }
}

/** Transforms 16 uniform numbers to 16 normal ones in place: eight cosines, then eight sines. */
function boxMuller(block: Float32Array): void {
  for (let j = 0; j < BLOCK / 2; j++) {
    const radius = Math.sqrt(-2 * Math.log(1 - block[j]));
    const theta = 2 * Math.PI * block[j + BLOCK / 2];
    block[j] = radius * Math.cos(theta);
    block[j + BLOCK / 2] = radius * Math.sin(theta);
  }
}
