import { BUNDLED_MODEL, type ModelFolder } from '../model/modelFolder.js';
import { readCache, writeCache } from '../files/cacheFile.js';
import {
  BUNDLED_CONVERGENCE,
  convergenceFile,
  expectedIterations,
  expectedPasses,
  UNKNOWN_CONVERGENCE,
  withRuns,
  type Convergence,
  type ConvergenceRecord,
  type GuidanceScales,
} from '../planner/convergence.js';
import { partitionOf } from '../planner/plan.js';
import { networkIdentity } from './networkIdentity.js';
import type { Settings } from './options.js';
import type { GeneratedImage } from './result.js';

/** How long records wait to be written, in milliseconds: a run must not wait for a disk, and runs follow each other quickly. */
const SAVE_MS = 500;

/** How many iterations a model takes, learned from its runs and kept in the user's cache. */
export class LearnedConvergence {
  private records: Promise<readonly ConvergenceRecord[]> | undefined;
  private saving: NodeJS.Timeout | undefined;
  private readonly prior: Convergence;

  constructor(private readonly model: ModelFolder) {
    this.prior = model.path === BUNDLED_MODEL ? BUNDLED_CONVERGENCE : UNKNOWN_CONVERGENCE;
  }

  /** What is known, for the scales of guidance. */
  async known(settings: Pick<Settings, 'guidance' | 'cfgScale'>): Promise<Convergence> {
    return { ...this.prior, ...this.scalesOf(settings), records: await this.load() };
  }

  /** Learns from a run that had the devices to itself. The records are written later, or by `save`. */
  async learn(settings: Settings, images: readonly GeneratedImage[]): Promise<void> {
    const key = keyOf(settings, this.scalesOf(settings));
    const ended = images.filter(({ status }) => status === 'converged' || status === 'exact');
    if (!key || ended.length === 0) return;
    const iterations = ended.map((image) => image.iterations);
    this.records = this.load().then((records) => withRuns(records, key, iterations));
    await this.records;
    this.saving ??= setTimeout(() => void this.save(), SAVE_MS).unref();
  }

  /** Writes what was learned and not yet written. */
  async save(): Promise<void> {
    if (!this.saving) return;
    clearTimeout(this.saving);
    this.saving = undefined;
    const [records, name] = await Promise.all([this.load(), networkIdentity(this.model)]);
    if (name) await writeCache('convergence', name, { model: this.model.name, records });
  }

  private scalesOf({ guidance, cfgScale }: Pick<Settings, 'guidance' | 'cfgScale'>): GuidanceScales {
    return this.model.family.guidanceOption === 'trueGuidance' ? { guidance, cfgScale } : { guidance };
  }

  private load(): Promise<readonly ConvergenceRecord[]> {
    this.records ??= this.read();
    return this.records;
  }

  private async read(): Promise<readonly ConvergenceRecord[]> {
    const name = await networkIdentity(this.model);
    return (name && convergenceFile.safeParse(await readCache('convergence', name)).data?.records) ?? [];
  }
}

/**
 * The settings that iterations depend on; undefined where forecasts are not made, as for blocks that the planner does not consider, and where an
 * image takes fewer since it starts from another.
 */
function keyOf(settings: Settings, scales: GuidanceScales): Omit<ConvergenceRecord, 'runs' | 'iterations'> | undefined {
  const { sampler, grid, partition, window, tolerance, stopping, correction, pipelined, maxIterations } = settings;
  if (tolerance === 0 || stopping !== 'look-ahead' || maxIterations !== undefined || settings.init) return undefined;
  const common = { steps: grid.length, tolerance, ...scales };
  if (sampler === 'srds' && correction === 'secant' && pipelined) {
    const considered = partitionOf(grid.length, partition.length);
    if (partition.some((length, i) => length !== considered[i])) return undefined;
    const expected = expectedIterations(partition, tolerance, { ...BUNDLED_CONVERGENCE, ...scales });
    return { ...common, sampler, parts: partition.length, expected };
  }
  if (sampler === 'picard') {
    const parts = Math.min(window ?? grid.length, grid.length);
    return { ...common, sampler, parts, expected: expectedPasses(grid.length, parts, tolerance) };
  }
  return undefined;
}
