import { SrdsError } from '../errors.js';
import type { ModelFolder } from '../model/modelFolder.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import { ApiError } from './apiError.js';

/** A model that is served. */
export interface ServedModel {
  readonly name: string;
  readonly folder: ModelFolder;
  /** Of its weights in memory. */
  readonly bytes: number;
}

interface Loaded {
  readonly model: ServedModel;
  readonly pipeline: Promise<Pipeline>;
  users: number;
  /** Closed as soon as no one uses it. */
  retired: boolean;
}

/** Names that OpenAI's clients send unless told otherwise; they mean the default model here. */
const OPENAI_NAMES = /^(dall-e|gpt-image|chatgpt-image)(-|$)/;

/** Models by name, loaded when they are needed; where memory is short the least recently used one is unloaded. */
export class Models {
  /** The least recently used first. */
  private readonly current = new Map<string, Loaded>();
  private readonly all = new Set<Loaded>();
  private freed: () => void = () => undefined;
  private loading: Promise<void> = Promise.resolve();

  /** @param memoryBytes that weights may take together; at least one model is loaded in any case */
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
    throw new ApiError(404, 'model_not_found', `expected one of the models ${known}, found ${name}; name one`, 'model');
  }

  get loadedNames(): string[] {
    return [...this.current.keys()];
  }

  /** Whether the default model has been loaded once. */
  ready = false;

  /** Loads the default model. */
  warm(signal: AbortSignal): Promise<void> {
    return this.use(this.served[0], signal, () => Promise.resolve());
  }

  /** Does something with a model, which is not unloaded meanwhile. */
  async use<Value>(
    model: ServedModel,
    signal: AbortSignal,
    work: (pipeline: Pipeline) => Promise<Value>,
  ): Promise<Value> {
    const loaded = await this.load(model, signal);
    try {
      const pipeline = await unlessAborted(loaded.pipeline, signal);
      if (model === this.served[0]) this.ready = true;
      return await work(pipeline);
    } catch (error) {
      // Its processes will not recover by themselves; the next request finds new ones.
      if (error instanceof SrdsError && error.code === 'ENGINE_FAILED') this.retire(loaded);
      throw error;
    } finally {
      loaded.users--;
      if (loaded.retired) await this.closeIfIdle(loaded);
      this.freed();
    }
  }

  /** Opens everything anew for what comes from now on; what is under way ends where it began. */
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

  private async load(model: ServedModel, signal: AbortSignal): Promise<Loaded> {
    const known = this.take(model);
    if (known) return known;
    // Those who need room have it in the order in which they came.
    const turn = this.loading;
    let done: () => void = () => undefined;
    this.loading = new Promise((resolve) => (done = resolve));
    try {
      await unlessAborted(turn, signal);
      return this.take(model) ?? (await this.begin(model, signal));
    } finally {
      void turn.then(done);
    }
  }

  private take({ name }: ServedModel): Loaded | undefined {
    const known = this.current.get(name);
    if (!known) return undefined;
    this.current.delete(name);
    this.current.set(name, known);
    known.users++;
    return known;
  }

  /** Loads a model when there is room. Those that must make way are used no more, and closed when the last user is done. */
  private async begin(model: ServedModel, signal: AbortSignal): Promise<Loaded> {
    while (!this.fits(model)) {
      signal.throwIfAborted();
      const idle = [...this.current.values()].find(({ users }) => users === 0);
      const closing = [...this.all].some(({ retired }) => retired);
      const victim = idle ?? (closing ? undefined : [...this.current.values()].at(0));
      if (victim) this.retire(victim);
      if (idle) await this.closeIfIdle(idle);
      else await this.someone(signal);
    }
    const loaded: Loaded = { model, pipeline: this.open(model), users: 1, retired: false };
    this.current.set(model.name, loaded);
    this.all.add(loaded);
    loaded.pipeline.catch(() => {
      this.retire(loaded);
      this.all.delete(loaded);
      this.freed();
    });
    return loaded;
  }

  private fits({ bytes }: ServedModel): boolean {
    const used = [...this.all].reduce((sum, { model }) => sum + model.bytes, 0);
    return used === 0 || used + bytes <= this.memoryBytes;
  }

  /** Waits until someone is done with a model. */
  private someone(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      const before = this.freed;
      this.freed = () => {
        this.freed = () => undefined;
        before();
        signal.removeEventListener('abort', abort);
        resolve();
      };
    });
  }

  private retire(loaded: Loaded): void {
    loaded.retired = true;
    if (this.current.get(loaded.model.name) === loaded) this.current.delete(loaded.model.name);
  }

  private async closeIfIdle(loaded: Loaded): Promise<void> {
    if (loaded.users === 0) await this.shut(loaded);
  }

  private async shut(loaded: Loaded): Promise<void> {
    const pipeline = await loaded.pipeline.catch(() => undefined);
    // One that cannot be closed in order is gone all the same.
    await pipeline?.close().catch(() => undefined);
    this.all.delete(loaded);
    this.freed();
  }
}

/** Waits no longer than someone is there to wait. */
function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
