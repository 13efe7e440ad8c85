import { Mutex } from 'async-mutex';
import type { Engine } from '../engine/engine.js';
import { acquireOrAbort } from '../waiting.js';
import type { GraphName } from './graphNames.js';
import { textGraphs, type ModelFolder } from './modelFolder.js';
import type { Networks } from './networks.js';

/** Decides which graphs are loaded when: all but rarely used ones or, with little memory, only those in use. */
export class ModelMemory {
  private readonly mutex = new Mutex();

  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
    private readonly networks: Pick<Networks, 'check'>,
    readonly lowMemory: boolean,
  ) {}

  /** The graphs to load when a pipeline opens that need not save memory. */
  static atOnce(model: ModelFolder): GraphName[] {
    return [...textGraphs(model), model.family.network, 'vae_decoder'];
  }

  /**
   * Runs work exclusively, in the order of the calls, with little memory; at once otherwise.
   * @param run receives a function that extends its turn until further work has ended, even after the run itself
   * @throws the signal's reason if it is aborted before the turn
   */
  async inTurn<Value>(
    run: (lastFor: (work: Promise<unknown>) => void) => Promise<Value>,
    signal?: AbortSignal,
  ): Promise<Value> {
    if (!this.lowMemory) return run(() => undefined);
    const release = await (signal ? acquireOrAbort(this.mutex, signal) : this.mutex.acquire());
    const work: Promise<unknown>[] = [];
    try {
      return await run((more) => void work.push(more));
    } finally {
      void Promise.allSettled(work).then(release);
    }
  }

  /** Loads the text encoders. @returns seconds it took @throws SrdsError MODEL_INVALID, ENGINE_FAILED */
  forText(): Promise<number> {
    return this.only(textGraphs(this.model));
  }

  /** Loads the denoising network and the VAE. @returns seconds it took @throws SrdsError MODEL_INVALID, ENGINE_FAILED */
  forSampling(withInit: boolean): Promise<number> {
    return this.only([this.model.family.network, 'vae_decoder', ...(withInit ? ['vae_encoder' as const] : [])]);
  }

  private async only(graphs: readonly GraphName[]): Promise<number> {
    const start = performance.now();
    if (this.lowMemory) {
      const kept: readonly string[] = graphs;
      await this.engine.unload([...this.engine.graphs.keys()].filter((name) => !kept.includes(name)));
    }
    const missing = graphs.filter((name) => !this.engine.graphs.has(name));
    if (missing.length === 0) return 0;
    await this.engine.load(missing);
    this.networks.check();
    return (performance.now() - start) / 1000;
  }
}
