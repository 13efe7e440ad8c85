import { EventEmitter, once } from 'node:events';
import { sep } from 'node:path';
import { Mutex } from 'async-mutex';
import { oneLine, SrdsError } from '../errors.js';
import type { ModelFolder } from '../model/modelFolder.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import { acquireOrAbort, orAbort } from '../waiting.js';
import { ApiError, withoutPlaces } from './apiError.js';
import type { ModelPlace } from './queue.js';

/** A model that is served. */
export interface ServedModel {
  readonly name: string;
  readonly folder: ModelFolder;
  /** Bytes of its weights in memory. */
  readonly bytes: number;
}

/** Reads and opens models. */
export interface ModelSource {
  /** Reads the files of a model anew, without its weights. */
  readonly read: (model: ServedModel) => Promise<ServedModel>;
  readonly open: (model: ServedModel) => Promise<Pipeline>;
}

/**
 * `unloaded` models are loaded by the next request; those that `failed` could not be opened the last time; the devices of an
 * `unavailable` one run nothing.
 */
export type ModelStatus = 'loaded' | 'loading' | 'unloaded' | 'failed' | 'unavailable';

interface LoadedModel {
  /** As it was read when it was loaded. */
  model: ServedModel;
  readonly pipeline: Promise<Pipeline>;
  /** The pipeline once it is open. */
  opened?: Pipeline;
  users: number;
  /** A retired model takes no new users and is closed when the last one is done. */
  retired: boolean;
}

/** Names that OpenAI's clients send by default; they select the default model. */
const OPENAI_NAMES = /^(dall-e|gpt-image|chatgpt-image)(-|$)/;

/** Models by name. A model is loaded on first use; when memory is short, the least recently used one is unloaded. */
export class Models {
  private models: readonly ServedModel[];
  /** Whether the default model has been loaded once. */
  private hasServed = false;
  /** Names of models that could not be opened the last time. */
  private readonly failed = new Set<string>();
  /** Names of models that requests wait for, once for each request. */
  private readonly wanted: string[] = [];
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
    served: readonly ServedModel[],
    private readonly source: ModelSource,
    private readonly memoryBytes = Infinity,
  ) {
    this.models = served;
  }

  /** The models, the default one first, as they were read the last time. */
  get served(): readonly ServedModel[] {
    return this.models;
  }

  /** Whether requests for the default model can be served: not before it has been loaded once. */
  get readiness(): 'starting' | 'ok' | 'unavailable' {
    if (!this.hasServed) return 'starting';
    const status = this.status(this.models[0]);
    return status === 'failed' || status === 'unavailable' ? 'unavailable' : 'ok';
  }

  status({ name }: ServedModel): ModelStatus {
    const loaded = this.current.get(name);
    if (loaded?.opened) return loaded.opened.engine.available === false ? 'unavailable' : 'loaded';
    if (this.failed.has(name)) return 'failed';
    return loaded ? 'loading' : 'unloaded';
  }

  /** Whether requests for a model can have it at once. One that is about to be loaded counts as loaded. */
  place({ name, bytes }: ServedModel): ModelPlace {
    if (this.current.has(name) || this.wanted.includes(name)) return 'ready';
    const wanted = this.models.filter((model) => this.wanted.includes(model.name) && !this.current.has(model.name));
    const fitsBeside = (others: readonly ServedModel[]) =>
      others.length === 0 || bytesOf(others) + bytes <= this.memoryBytes;
    const loaded = [...this.all];
    if (fitsBeside([...wanted, ...loaded.map(({ model }) => model)])) return 'ready';
    const used = loaded.filter(({ users }) => users > 0).map(({ model }) => model);
    return fitsBeside([...wanted, ...used]) ? 'idle' : 'busy';
  }

  /** @throws ApiError 404 */
  find(name: string | undefined): ServedModel {
    const found = this.models.find((model) => model.name === name);
    if (found) return found;
    if (name === undefined || OPENAI_NAMES.test(name)) return this.models[0];
    const known = this.models.map((model) => model.name).join(', ');
    throw new ApiError(
      404,
      'model_not_found',
      `expected one of the models ${known}, found ${name}; name one of them`,
      'model',
    );
  }

  /** The pipeline of a model that is loaded. */
  opened({ name }: ServedModel): Pipeline | undefined {
    return this.current.get(name)?.opened;
  }

  get loadedNames(): string[] {
    return [...this.current.keys()];
  }

  /** Loads the default model, as `preload` does. */
  warm(signal: AbortSignal): Promise<void> {
    return this.preload(this.models[0], signal);
  }

  /** Loads a model and opens the sessions that images need. @throws as `use` does */
  preload(model: ServedModel, signal: AbortSignal): Promise<void> {
    return this.use(model, signal, (pipeline) => pipeline.warmUp(signal));
  }

  /** Unloads a model, when its users are done. Later requests load it again. */
  async unload({ name }: ServedModel): Promise<void> {
    const loaded = this.current.get(name);
    if (!loaded) return;
    this.retire(loaded);
    await this.closeIfIdle(loaded);
  }

  /**
   * Calls `work` with a model's pipeline, which stays open meanwhile.
   * @throws ApiError 503 if the model cannot be opened; what `work` throws, without the path of the model's folder
   */
  async use<Value>(
    model: ServedModel,
    signal: AbortSignal,
    work: (pipeline: Pipeline) => Promise<Value>,
  ): Promise<Value> {
    const loaded = await this.load(model, signal);
    try {
      const pipeline = await orAbort(loaded.pipeline, signal).catch((error: unknown) => {
        throw signal.aborted ? error : cannotOpen(model, error);
      });
      const value = await work(pipeline);
      if (model.name === this.models[0].name) this.hasServed = true;
      return value;
    } catch (error) {
      // Devices that are lost do not recover; the next request opens others. After other failures they go on.
      const isLost = loaded.opened?.engine.available === false;
      if (isLost && error instanceof SrdsError && error.code === 'ENGINE_FAILED') this.retire(loaded);
      throw withoutFolder(error, model);
    } finally {
      loaded.users--;
      if (loaded.retired) await this.closeIfIdle(loaded);
      this.changed();
    }
  }

  /**
   * Reads all models anew, and opens those that are loaded again for later requests. Running requests keep the models that they have,
   * and a model whose files cannot be read or opened stays as it was.
   * @param onFailure called with each model that stays, and why
   */
  async reload(onFailure: (name: string, error: unknown) => void): Promise<void> {
    await this.loading.runExclusive(async () => {
      for (const model of this.models) {
        try {
          await this.renew(model);
        } catch (error) {
          onFailure(model.name, error);
        }
      }
    });
  }

  private async renew(model: ServedModel): Promise<void> {
    const fresh = await this.source.read(model);
    const before = this.current.get(model.name);
    if (before && this.usedBytes + fresh.bytes <= this.memoryBytes) {
      const pipeline = await this.source.open(fresh);
      this.retire(before);
      this.add(fresh, Promise.resolve(pipeline)).opened = pipeline;
      this.failed.delete(fresh.name);
    }
    // Without memory for both, the next request opens the model.
    else if (before) this.retire(before);
    if (before) await this.closeIfIdle(before);
    this.replace(fresh);
  }

  /** Ends all device processes. */
  async close(): Promise<void> {
    for (const loaded of this.all) this.retire(loaded);
    await Promise.all([...this.all].map((loaded) => this.shut(loaded)));
  }

  private async load(model: ServedModel, signal: AbortSignal): Promise<LoadedModel> {
    const known = this.take(model);
    if (known) return known;
    this.wanted.push(model.name);
    try {
      const release = await acquireOrAbort(this.loading, signal);
      try {
        return this.take(model) ?? (await this.begin(model, signal));
      } finally {
        release();
      }
    } finally {
      this.wanted.splice(this.wanted.indexOf(model.name), 1);
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
    const loaded = this.add(
      model,
      this.open(model, (fresh) => (loaded.model = fresh)),
    );
    loaded.users = 1;
    loaded.pipeline.then(
      (pipeline) => {
        loaded.opened = pipeline;
        this.failed.delete(model.name);
      },
      () => {
        this.failed.add(model.name);
        this.retire(loaded);
        this.all.delete(loaded);
        this.changed();
      },
    );
    return loaded;
  }

  /** Reads a model anew and opens it: its files may have changed since it was loaded the last time. */
  private async open(model: ServedModel, onRead: (fresh: ServedModel) => void): Promise<Pipeline> {
    const fresh = await this.source.read(model);
    onRead(fresh);
    const pipeline = await this.source.open(fresh);
    this.replace(fresh);
    return pipeline;
  }

  private add(model: ServedModel, pipeline: Promise<Pipeline>): LoadedModel {
    const loaded: LoadedModel = { model, pipeline, users: 0, retired: false };
    this.current.set(model.name, loaded);
    this.all.add(loaded);
    return loaded;
  }

  private replace(fresh: ServedModel): void {
    this.models = this.models.map((model) => (model.name === fresh.name ? fresh : model));
  }

  private fits({ bytes }: ServedModel): boolean {
    return this.all.size === 0 || this.usedBytes + bytes <= this.memoryBytes;
  }

  /** Bytes of the models in memory. */
  private get usedBytes(): number {
    return bytesOf([...this.all].map(({ model }) => model));
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

function bytesOf(models: readonly ServedModel[]): number {
  return models.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The error of requests for a model that cannot be opened, which is the operator's to mend. */
function cannotOpen(model: ServedModel, error: unknown): unknown {
  if (!(error instanceof SrdsError)) return error;
  const { expected, found } = withoutPlaces(withoutFolder(error, model) as SrdsError);
  const why = `expected ${expected}, found ${found}`;
  const message = `expected model ${model.name} to open, found that it does not (${why}); ask the server's operator`;
  return new ApiError(503, 'model_unavailable', oneLine(message), 'model', {}, { cause: error });
}

/** An error with paths relative to the folder of a model: the place of that folder concerns no client. */
function withoutFolder(error: unknown, { folder, name }: ServedModel): unknown {
  if (!(error instanceof SrdsError) || !error.message.includes(folder.path)) return error;
  const relative = (text: string) => text.replaceAll(`${folder.path}${sep}`, '').replaceAll(folder.path, name);
  const { code, expected, found, remedy } = error;
  return new SrdsError(code, relative(expected), relative(found), relative(remedy), { cause: error });
}
