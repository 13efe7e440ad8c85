import { EventEmitter, once } from 'node:events';
import { Mutex } from 'async-mutex';
import { SrdsError } from '../errors.js';
import type { ModelFolder } from '../model/modelFolder.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import { acquireOrAbort, orAbort } from '../waiting.js';
import { ApiError } from './apiError.js';

/** A model that is served. */
export interface ServedModel {
  readonly name: string;
  readonly folder: ModelFolder;
  /** Bytes of its weights in memory. */
  readonly bytes: number;
}

interface LoadedModel {
  readonly model: ServedModel;
  readonly pipeline: Promise<Pipeline>;
  users: number;
  /** A retired model takes no new users and is closed when the last one is done. */
  retired: boolean;
}

/** Names that OpenAI's clients send by default; they select the default model. */
const OPENAI_NAMES = /^(dall-e|gpt-image|chatgpt-image)(-|$)/;

/** Models by name. A model is loaded on first use; when memory is short, the least recently used one is unloaded. */
export class Models {
  /** Whether the default model has been loaded once. */
  ready = false;
  /** Models that take new users, the least recently used first. */
  private readonly current = new Map<string, LoadedModel>();
  /** Models in memory, retired ones included. */
  private readonly all = new Set<LoadedModel>();
  /** Emits `change` when a user is done with a model or a model is closed. */
  private readonly events = new EventEmitter();
  /** Held while a model is loaded, so that models get memory in the order of their requests. */
  private readonly loading = new Mutex();

  /**
   * @param served at least one model; the first is the default
   * @param memoryBytes limit on the weights of all loaded models; one model is loaded in any case
   */
  constructor(
    readonly served: readonly ServedModel[],
    private readonly open: (model: ServedModel) => Promise<Pipeline>,
    private readonly memoryBytes = Infinity,
  ) {}

  /** @throws ApiError 404 */
  find(name: string | undefined): ServedModel {
    const found = this.served.find((model) => model.name === name);
    if (found) return found;
    if (name === undefined || OPENAI_NAMES.test(name)) return this.served[0];
    const known = this.served.map((model) => model.name).join(', ');
    throw new ApiError(
      404,
      'model_not_found',
      `expected one of the models ${known}, found ${name}; name one of them`,
      'model',
    );
  }

  get loadedNames(): string[] {
    return [...this.current.keys()];
  }

  /** Loads the default model. */
  warm(signal: AbortSignal): Promise<void> {
    return this.use(this.served[0], signal, () => Promise.resolve());
  }

  /** Calls `work` with a model's pipeline, which stays open meanwhile. */
  async use<Value>(
    model: ServedModel,
    signal: AbortSignal,
    work: (pipeline: Pipeline) => Promise<Value>,
  ): Promise<Value> {
    const loaded = await this.load(model, signal);
    try {
      const pipeline = await orAbort(loaded.pipeline, signal);
      if (model === this.served[0]) this.ready = true;
      return await work(pipeline);
    } catch (error) {
      // Failed device processes do not recover; the next request starts new ones.
      if (error instanceof SrdsError && error.code === 'ENGINE_FAILED') this.retire(loaded);
      throw error;
    } finally {
      loaded.users--;
      if (loaded.retired) await this.closeIfIdle(loaded);
      this.changed();
    }
  }

  /** Opens all models again for later requests. Running requests keep the models that they have. */
  restart(): void {
    for (const loaded of [...this.current.values()]) {
      this.retire(loaded);
      void this.closeIfIdle(loaded);
    }
  }

  /** Ends all device processes. */
  async close(): Promise<void> {
    for (const loaded of this.all) this.retire(loaded);
    await Promise.all([...this.all].map((loaded) => this.shut(loaded)));
  }

  private async load(model: ServedModel, signal: AbortSignal): Promise<LoadedModel> {
    const known = this.take(model);
    if (known) return known;
    const release = await acquireOrAbort(this.loading, signal);
    try {
      return this.take(model) ?? (await this.begin(model, signal));
    } finally {
      release();
    }
  }

  private take({ name }: ServedModel): LoadedModel | undefined {
    const known = this.current.get(name);
    if (!known) return undefined;
    this.current.delete(name);
    this.current.set(name, known);
    known.users++;
    return known;
  }

  /** Loads a model as soon as memory allows. Evicts idle models first; then retires the least recently used one. */
  private async begin(model: ServedModel, signal: AbortSignal): Promise<LoadedModel> {
    while (!this.fits(model)) {
      signal.throwIfAborted();
      const idle = [...this.current.values()].find(({ users }) => users === 0);
      const closing = [...this.all].some(({ retired }) => retired);
      const victim = idle ?? (closing ? undefined : [...this.current.values()].at(0));
      if (victim) this.retire(victim);
      if (idle) await this.closeIfIdle(idle);
      else await this.nextChange(signal);
    }
    const loaded: LoadedModel = { model, pipeline: this.open(model), users: 1, retired: false };
    this.current.set(model.name, loaded);
    this.all.add(loaded);
    loaded.pipeline.catch(() => {
      this.retire(loaded);
      this.all.delete(loaded);
      this.changed();
    });
    return loaded;
  }

  private fits({ bytes }: ServedModel): boolean {
    const used = [...this.all].reduce((sum, { model }) => sum + model.bytes, 0);
    return used === 0 || used + bytes <= this.memoryBytes;
  }

  private changed(): void {
    this.events.emit('change');
  }

  /** @throws the signal's reason */
  private async nextChange(signal: AbortSignal): Promise<void> {
    await once(this.events, 'change', { signal }).catch(() => signal.throwIfAborted());
  }

  private retire(loaded: LoadedModel): void {
    loaded.retired = true;
    if (this.current.get(loaded.model.name) === loaded) this.current.delete(loaded.model.name);
  }

  private async closeIfIdle(loaded: LoadedModel): Promise<void> {
    if (loaded.users === 0) await this.shut(loaded);
  }

  private async shut(loaded: LoadedModel): Promise<void> {
    const pipeline = await loaded.pipeline.catch(() => undefined);
    // A pipeline that fails to close has lost its processes already.
    await pipeline?.close().catch(() => undefined);
    this.all.delete(loaded);
    this.changed();
  }
}
