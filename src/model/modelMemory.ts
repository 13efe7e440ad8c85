import type { Engine } from '../engine/engine.js';
import type { GraphName } from './graphNames.js';
import type { ModelFolder } from './modelFolder.js';
import type { Networks } from './networks.js';

/** Which graphs are in memory when: all but what is rarely used, or, if memory is short, only those in use. */
export class ModelMemory {
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
    private readonly networks: Networks,
    private readonly lowMemory: boolean,
  ) {}

  /** What is loaded when a pipeline is opened that need not save memory. */
  static atOnce(model: ModelFolder): GraphName[] {
    return [...textGraphs(model), 'unet', 'vae_decoder'];
  }

  /**
   * Runs something alone if memory is short, else at once.
   * @param run is given a way to name work that the turn lasts for even if the run itself ends before
   */
  inTurn<Value>(run: (lastFor: (work: Promise<unknown>) => void) => Promise<Value>): Promise<Value> {
    if (!this.lowMemory) return run(() => undefined);
    const work: Promise<unknown>[] = [];
    const result = this.turn.then(() => run((more) => void work.push(more)));
    this.turn = result.catch(() => undefined).then(() => Promise.allSettled(work));
    return result;
  }

  /** Makes the text encoders ready. @returns seconds it took */
  forText(): Promise<number> {
    return this.only(textGraphs(this.model));
  }

  /** Makes what follows them ready. @returns seconds it took */
  forSampling(withInit: boolean): Promise<number> {
    return this.only(['unet', 'vae_decoder', ...(withInit ? ['vae_encoder' as const] : [])]);
  }

  private async only(graphs: readonly GraphName[]): Promise<number> {
    const start = performance.now();
    if (this.lowMemory) await this.engine.unload([...this.engine.graphs.keys()].filter((name) => !has(graphs, name)));
    const missing = graphs.filter((name) => !this.engine.graphs.has(name));
    if (missing.length === 0) return 0;
    await this.engine.load(missing);
    this.networks.check();
    return (performance.now() - start) / 1000;
  }
}

function textGraphs({ textEncoders }: ModelFolder): GraphName[] {
  return textEncoders.map(({ graph }) => graph);
}

function has(graphs: readonly string[], name: string): boolean {
  return graphs.includes(name);
}
