import { RUNS, type TimedRun } from '../planner/runTimes.js';

/** Kinds of runs that are kept: clients choose sizes freely. */
const MOST = 16;

/** The last runs of each kind that had their device to themselves. */
export class RecentRuns {
  private readonly runs = new Map<string, readonly TimedRun[]>();

  /**
   * Adds a run.
   * @param kind of runs that are alike
   * @returns the last ones of its kind; undefined while they are too few
   */
  add(kind: string, run: TimedRun): readonly TimedRun[] | undefined {
    const before = this.runs.get(kind);
    // The first one compiles code and opens sessions, so it counts for nothing but that others follow.
    const recent = before ? [...before, run].slice(-RUNS) : [];
    this.runs.delete(kind);
    this.runs.set(kind, recent);
    if (this.runs.size > MOST) this.runs.delete([...this.runs.keys()][0]);
    return recent.length < RUNS ? undefined : recent;
  }

  /** Forgets the runs of a kind, but not that there were some. */
  clear(kind: string): void {
    if (this.runs.has(kind)) this.runs.set(kind, []);
  }
}
