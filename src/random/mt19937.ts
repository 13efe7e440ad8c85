const N = 624;
const M = 397;

/** Mersenne Twister MT19937 with the standard initialization, as PyTorch's CPU generator. Source: Matsumoto, Nishimura 1998. */
export class Mt19937 {
  private readonly state = new Uint32Array(N);
  private next = N;

  /** @param seed any integer; only its lowest 32 bits are used, as in PyTorch: 2^32 equals 0, and -1 equals 2^32 - 1 */
  constructor(seed: number | bigint) {
    this.state[0] = Number(BigInt.asUintN(32, BigInt(seed)));
    for (let j = 1; j < N; j++) {
      const previous = this.state[j - 1];
      this.state[j] = Math.imul(1812433253, previous ^ (previous >>> 30)) + j;
    }
  }

  /** The next 32 random bits as an unsigned integer. */
  uint32(): number {
    if (this.next === N) this.twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  private twist(): void {
    const s = this.state;
    for (let j = 0; j < N; j++) {
      const y = (s[j] & 0x80000000) | (s[(j + 1) % N] & 0x7fffffff);
      s[j] = s[(j + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }
}
