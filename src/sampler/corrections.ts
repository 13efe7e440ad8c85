/** A start state of a block, [size], with F (the fine solver) and G (the coarse solver) of it. */
export interface Solves {
  readonly x: Float32Array;
  readonly f: Float32Array;
  readonly g: Float32Array;
}

/** Inputs of a correction, which predicts a block's end for a new start state. */
export interface CorrectionInput {
  /** x[p][i], the new start, and G of it */
  readonly now: Pick<Solves, 'x' | 'g'>;
  /** x[p-1][i] and its solves */
  readonly before: Solves;
  /** x[p-2][i] and its solves, from iteration 2 on */
  readonly older: Solves | undefined;
}

/** How the fine solve of the last iteration is corrected for the new start state. */
export type Correction = 'secant' | 'parareal';

/**
 * x[p][i+1] = F(x[p-1][i]) + ( G(x[p][i]) - G(x[p-1][i]) + w e ), where Parareal has w = 0. The secant correction adds what the
 * last iteration showed of the block's true response:
 *
 *     d = x[p-1][i] - x[p-2][i]      e = (F(x[p-1][i]) - F(x[p-2][i])) - (G(x[p-1][i]) - G(x[p-2][i]))
 *     w = clamp(<x[p][i] - x[p-1][i], d> / <d, d>, -1, 1), 0 where d = 0
 *
 * The grouping matters: where x[p][i] = x[p-1][i] the bracket is exactly 0 and the result is exactly F.
 * Source: SRDS (arXiv 2412.08292), algorithm 1; the secant term is this project's.
 */
export function correct(correction: Correction, { now, before, older }: CorrectionInput): Float32Array {
  const w = correction === 'secant' && older ? secantWeight(now.x, before.x, older.x) : 0;
  const { f, g } = before;
  const gNow = now.g;
  const end = new Float32Array(f.length);
  if (!older || w === 0) {
    for (let k = 0; k < end.length; k++) end[k] = f[k] + (gNow[k] - g[k]);
    return end;
  }
  const { f: oldF, g: oldG } = older;
  for (let k = 0; k < end.length; k++) end[k] = f[k] + (gNow[k] - g[k] + w * (f[k] - oldF[k] - (g[k] - oldG[k])));
  return end;
}

function secantWeight(now: Float32Array, before: Float32Array, older: Float32Array): number {
  let along = 0;
  let length = 0;
  for (let k = 0; k < now.length; k++) {
    const d = before[k] - older[k];
    along += (now[k] - before[k]) * d;
    length += d * d;
  }
  return length > 0 ? Math.min(1, Math.max(-1, along / length)) : 0;
}
