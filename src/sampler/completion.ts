import type { LookAhead } from './lookAhead.js';
import type { Iterate } from './sampler.js';
import type { Trajectories } from './trajectories.js';

/** What an SRDS run reports as its iterates, and when. */
export class Completion {
  /**
   * @param toExact iterations after which the sample is exact
   * @param last iteration to compute
   * @param hasBarriers whether each iteration waits for the one before
   */
  constructor(
    private readonly trajectories: Trajectories,
    private readonly lookAhead: LookAhead,
    private readonly toExact: number,
    private readonly last: number,
    private readonly hasBarriers: boolean,
  ) {}

  /** The iterate of iteration p; undefined until its row or the serial trajectory is complete, and the change after it predicted. */
  iterate(p: number): Iterate | undefined {
    const { rows, exact, length } = this.trajectories;
    const candidates = [rows.at(p), this.hasBarriers ? undefined : exact];
    const row = candidates.find((one) => one?.length === length);
    if (!row) return undefined;
    const isUnchanged = p > 0 && row.every(({ state }, i) => state === rows[p - 1][i].state);
    const isExact = row === exact || isUnchanged || (p > 0 && p === this.toExact);
    const final = isExact ? 'exact' : p === this.last ? 'maxIterations' : undefined;
    const ahead = final || p === 0 || this.hasBarriers ? [] : this.lookAhead.boundaries(p);
    if (!ahead) return undefined;
    const states = row.map(({ state }) => state.x);
    return {
      iteration: p,
      states,
      x: states[states.length - 1],
      depth: Math.max(...[...row, ...ahead].map((one) => one.depth)),
      predictedChange: p === 0 ? undefined : isExact ? 0 : this.lookAhead.predictedChange(p, ahead.length),
      reachesEnd: true,
      final,
    };
  }
}
