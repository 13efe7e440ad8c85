import { engineDenoiser } from '../model/networkDenoiser.js';
import { Batcher, type BatchReport } from '../engine/batcher.js';
import { CPU, type Device } from '../engine/device.js';
import type { Precision } from '../onnx/graphInfo.js';
import type { ConditioningId, Engine } from '../engine/engine.js';
import { findDevices } from '../engine/local/probe.js';
import { LocalEngine, type LocalEngineOptions } from '../engine/local/localEngine.js';
import type { EvaluationCount } from '../run/events.js';
import { Run } from '../run/run.js';
import { serial } from '../sampler/serial.js';
import { finalScale } from '../schedule/grid.js';
import type { Machine } from '../run/simulate.js';
import { serialEvaluations } from '../solver/solver.js';
import { maxAbsoluteDifference, meanAbsoluteDifference } from '../tensor/operations.js';
import { sizeOf } from '../tensor/tensor.js';
import { calibrate, calibrated, unmeasured, type CalibrationInput, type Curves } from '../planner/measure.js';
import { Planner, type Chosen, type Room } from '../planner/selectSampler.js';
import type { Conditioning } from '../model/conditioning.js';
import { encodePrompt } from '../model/encodePrompt.js';
import { stoppingMeasure } from './stopping.js';
import { resized, type RgbImage } from '../image/image.js';
import { BUNDLED_MODEL, graphFiles, latentDims, type ModelFolder } from '../model/modelFolder.js';
import { openModel, type OpenModelOptions } from '../model/openModel.js';
import { Networks, sharedWarning } from '../model/networks.js';
import { startSampler, stopsBelow } from './samplers.js';
import { settingsOf, type GenerateOptions, type Settings } from './options.js';
import { all, unlessAborted, untilAborted } from './waiting.js';
import { RWLock } from './rwLock.js';
import { ModelMemory } from '../model/modelMemory.js';
import type { GeneratedImage, GenerateEvent, GenerateResult, ImageEvaluations } from './result.js';
import { prepareLatents } from './prepareLatents.js';

/** How to open a pipeline on the devices of this machine. */
export interface OpenOptions extends Omit<LocalEngineOptions, 'graphs' | 'devices' | 'onWarning'>, OpenModelOptions {
  /** Work together on an image; default: the CPU. `auto`: a GPU if there is one that works. */
  readonly devices?: readonly Device[] | 'auto' | undefined;
  /** What the UNet computes in; default `auto`, on GPUs half precision where the folder's weights are stored in it. */
  readonly precision?: Precision | 'auto' | undefined;
  /**
   * Keeps the text encoders and the other networks in memory by turns only: loaded for each run, freed when they are no
   * longer needed. Runs take turns too.
   */
  readonly lowMemory?: boolean | undefined;
  /** Called after each batch of the network, for traces and benchmarks. */
  readonly onBatch?: (report: BatchReport) => void;
}

/** What a pipeline is made of beside its model and engine. */
export interface PipelineOptions extends Pick<OpenOptions, 'lowMemory' | 'onBatch'> {
  /** How long loading took, for reports. */
  readonly loadSeconds?: number;
  /** What tells engines of the same devices apart, for measurements that are kept. */
  readonly variant?: string;
}

type Emit = (event: GenerateEvent) => void;

/** What the images of one call share. */
interface Job {
  readonly settings: Settings;
  readonly conditional: ConditioningId;
  readonly unconditional: ConditioningId | undefined;
  /** What the VAE encoder says of the initial image. */
  readonly encodedInit: Float32Array | undefined;
  /** How large batches should be, where that is known. */
  readonly room?: Room | undefined;
  readonly emit: Emit;
  readonly signal: AbortSignal;
}

/** Text to image, and image to image, with a Stable Diffusion folder on an engine. */
export class Pipeline {
  private readonly batcher: Batcher;
  private readonly networks: Networks;
  private readonly residency: ModelMemory;
  private readonly loadSeconds: number;
  private readonly variant: string;
  /** Devices are measured while nothing is drawn. */
  private readonly devices = new RWLock();
  private readonly curves: Curves = new Map();
  private readonly planner = new Planner();
  /** Of runs under way, by what their evaluations are asked for with. */
  private readonly listeners = new WeakMap<object, Emit>();
  private batches = 0;

  /**
   * @param engine with the model's graphs under the names of their folders; closed by `close`
   * @throws SrdsError MODEL_INVALID if a graph that is loaded is not of Stable Diffusion
   */
  constructor(
    readonly model: ModelFolder,
    readonly engine: Engine,
    { lowMemory = false, loadSeconds = 0, variant = '', onBatch }: PipelineOptions = {},
  ) {
    this.loadSeconds = loadSeconds;
    this.variant = variant;
    this.batcher = new Batcher(engine, (report) => {
      if (report.graph === 'unet') this.tellOf(report);
      onBatch?.(report);
    });
    this.networks = new Networks(model, engine, this.batcher);
    this.networks.check();
    this.residency = new ModelMemory(model, engine, this.networks, lowMemory);
  }

  /**
   * Opens a model: the path of a diffusers folder of ONNX graphs, `owner/name` on the Hugging Face hub, or a
   * folder that was read; without one, the model that comes with this package.
   * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED, DEVICE_UNAVAILABLE, INVALID_OPTION
   */
  static async open(folder: string | ModelFolder = BUNDLED_MODEL, options: OpenOptions = {}): Promise<Pipeline> {
    const start = performance.now();
    const model = typeof folder === 'string' ? await openModel(folder, options) : folder;
    const graphs = options.lowMemory ? [] : ModelMemory.atOnce(model);
    const devices = await findDevices(options.devices ?? [CPU], options.onWarning);
    const engine = await LocalEngine.open(graphFiles(model, options.precision ?? 'auto'), {
      ...options,
      devices,
      graphs,
    });
    try {
      const { threads, workers, precision, fused = true } = options;
      const variant = JSON.stringify([threads, workers, precision, fused]);
      return new Pipeline(model, engine, { ...options, variant, loadSeconds: (performance.now() - start) / 1000 });
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /**
   * Draws images: iterate the run for events, await its `result`.
   * @throws SrdsError INVALID_OPTION at once; the run fails with ENGINE_FAILED if the device does
   */
  generate(options: GenerateOptions): Run<GenerateEvent, GenerateResult> {
    const settings = settingsOf(options, this.model);
    return new Run(
      (emit, signal) => this.residency.inTurn((lastFor) => this.draw(settings, emit, signal, lastFor)),
      options.signal,
    );
  }

  /**
   * The machine as the planner sees it: how long batches of the UNet take, measured or from the cache.
   * @param fresh whether to measure in any case
   * @throws SrdsError as `generate` does
   */
  machine(
    options: GenerateOptions,
    { fresh = false }: { readonly fresh?: boolean | undefined } = {},
  ): Promise<Machine> {
    const settings = settingsOf(options, this.model);
    return this.residency.inTurn(async () => {
      const { signal } = new AbortController();
      const { job } = await this.prepare(settings, () => undefined, signal);
      const ids = [job.conditional, job.unconditional].filter((id) => id !== undefined);
      try {
        return await this.devices.write(() => calibrate(this.calibration(settings, ids), { fresh, signal }));
      } finally {
        ids.forEach((id) => this.engine.release(id));
      }
    });
  }

  private tellOf({ requests, device, begin, end, paddedRows }: BatchReport): void {
    this.batches++;
    for (const client of new Set(requests.map((options) => options.client))) {
      const evaluations = requests.filter((options) => options.client === client).map(({ priority }) => priority);
      this.listeners.get(client)?.({ type: 'batch', device, begin, end, rows: paddedRows, evaluations });
    }
  }

  /** Ends the device processes. Runs under way fail. */
  close(): Promise<void> {
    return this.engine.close();
  }

  private async draw(
    settings: Settings,
    emit: Emit,
    signal: AbortSignal,
    lastFor: (work: Promise<unknown>) => void,
  ): Promise<GenerateResult> {
    const batchesBefore = this.batches;
    const seconds = { load: this.loadSeconds, encode: 0, sample: 0, decode: 0 };
    const preparing = this.prepare(settings, emit, signal);
    lastFor(preparing);
    const ready = await untilAborted(preparing, signal);
    if (!ready) {
      const images = settings.seeds.map((seed) => aborted(seed, settings, sizeOf(latentDims(this.model, settings))));
      return { images, settings, seconds, timesteps: undefined, choice: undefined, batches: 0 };
    }
    const { load, encode } = ready;
    let { job } = ready;
    try {
      const timesteps = this.networks.timestepBatching;
      const choice = await untilAborted(this.choose(job), signal);
      settings = choice?.settings ?? {
        ...settings,
        sampler: settings.sampler === 'auto' ? 'serial' : settings.sampler,
      };
      job = { ...job, settings, room: choice?.room };
      this.listeners.set(job, emit);
      if (settings.unused !== undefined) emit({ type: 'warning', message: settings.unused });
      const begun = performance.now() - ready.initSeconds * 1000;
      if (timesteps.kind === 'shared' && settings.sampler !== 'serial') {
        emit({ type: 'warning', message: sharedWarning(timesteps.why) });
      }
      const drawn = await this.devices.read(
        () => all(settings.seeds.map((seed, image) => this.drawOne(job, seed, image))),
        signal,
      );
      const images = settings.compare
        ? await all(drawn.map(({ result }, image) => this.compared(job, result, image)))
        : drawn.map(({ result }) => result);
      const sample = Math.max(...drawn.map(({ sampled }) => sampled - begun)) / 1000;
      const decode = Math.max(...drawn.map(({ sampled, decoded }) => decoded - sampled)) / 1000;
      return {
        images,
        settings,
        seconds: { load: this.loadSeconds + load, encode, sample, decode },
        timesteps,
        choice: choice?.choice,
        batches: this.batches - batchesBefore,
      };
    } finally {
      for (const id of [job.conditional, job.unconditional]) if (id !== undefined) this.engine.release(id);
    }
  }

  /** Loads what is needed and encodes the prompts. Of a run that is aborted meanwhile nothing is left registered. */
  private async prepare(
    settings: Settings,
    emit: Emit,
    signal: AbortSignal,
  ): Promise<{ readonly job: Job; readonly load: number; readonly encode: number; readonly initSeconds: number }> {
    signal.throwIfAborted();
    const loadedForText = await this.residency.forText();
    signal.throwIfAborted();
    const start = performance.now();
    const { conditional, unconditional } = await this.conditioningOf(settings, emit);
    const encode = (performance.now() - start) / 1000;
    signal.throwIfAborted();
    const loaded = await this.residency.forSampling(settings.init !== undefined);
    const begun = performance.now();
    const init = settings.init && (await resized(settings.init, settings.width, settings.height));
    const encodedInit = init && (await this.networks.encode(init, signal));
    signal.throwIfAborted();
    const job: Job = {
      settings,
      conditional: this.engine.register(conditional),
      unconditional: unconditional && this.engine.register(unconditional),
      encodedInit,
      emit,
      signal,
    };
    const initSeconds = (performance.now() - begun) / 1000;
    return { job, load: loadedForText + loaded, encode, initSeconds };
  }

  /** Settles what was left to the planner. */
  private async choose({ settings, conditional, unconditional, signal }: Job): Promise<Chosen> {
    const conditioning = unconditional === undefined ? [conditional] : [conditional, unconditional];
    const calibration = this.calibration(settings, conditioning);
    if (settings.sampler === 'serial') return { settings };
    if (settings.sampler !== 'auto') {
      const known = (await calibrated(calibration)) ?? unmeasured(calibration);
      return { settings, room: known && this.planner.roomFor(settings, known) };
    }
    const busy = this.batcher.full || this.networks.timestepBatching.kind === 'shared';
    return this.planner.choose(
      settings,
      busy,
      async () =>
        (await calibrated(calibration)) ?? (await this.devices.write(() => calibrate(calibration, { signal }))),
    );
  }

  private calibration(settings: Settings, conditioning: readonly ConditioningId[]): CalibrationInput {
    const { width, height, seeds } = settings;
    const { model, engine, variant, networks, curves } = this;
    const unetOutput = networks.unetOutput;
    return { model, engine, variant, curves, unetOutput, width, height, conditioning, images: seeds.length };
  }

  private async conditioningOf(
    settings: Settings,
    emit: Emit,
  ): Promise<{ conditional: Conditioning; unconditional: Conditioning | undefined }> {
    const warn = (message: string) => emit({ type: 'warning', message });
    const encode = (name: string, text: string) =>
      encodePrompt(this.model, this.networks, { name, text }, settings, warn);
    const { prompt, guidance, negativePrompt } = settings;
    const guided = guidance > 1;
    const [conditional, negative] = await Promise.all([
      encode('prompt', prompt),
      guided && negativePrompt !== null ? encode('negative prompt', negativePrompt) : undefined,
    ]);
    return { conditional, unconditional: guided ? (negative ?? this.model.family.zeroed(conditional)) : undefined };
  }

  private async drawOne(
    job: Job,
    seed: bigint,
    image: number,
  ): Promise<{ result: GeneratedImage; sampled: number; decoded: number }> {
    const { settings, emit, signal } = job;
    const { width, height } = settings;
    const images = new WeakMap<Float32Array, Promise<RgbImage>>();
    const imageOf = (latents: Float32Array): Promise<RgbImage> => {
      const decoded = images.get(latents) ?? this.networks.decode(finished(settings, latents), width, height, signal);
      decoded.catch(() => undefined);
      images.set(latents, decoded);
      return decoded;
    };
    const residual = stoppingMeasure(stopsBelow(settings), imageOf, settings.previews);
    const withSerial = countingSerial(settings);

    const run = startSampler(settings, { ...this.samplerOptions(job, image), residual });
    let preview: RgbImage | undefined;
    for await (const event of run) {
      const evaluations = withSerial(event.evaluations);
      if (event.type === 'evaluation') {
        emit({ ...event, image, evaluations });
      } else {
        const { iteration, residual } = event;
        const shown = settings.previews ? await unlessAborted(imageOf(event.x), signal) : undefined;
        preview = shown ?? preview;
        if (shown || !settings.previews) {
          emit({ type: 'iteration', image, seed, iteration, residual, evaluations, preview: shown });
        }
      }
    }
    const sample = await run.result;
    const sampled = performance.now();
    const rgb = sample.status === 'aborted' ? preview : await unlessAborted(imageOf(sample.x), signal);
    const decoded = performance.now();

    const { iterations, residuals } = sample;
    const latents = finished(settings, sample.x);
    const status = rgb ? sample.status : 'aborted';
    const evaluations = withSerial(sample.evaluations);
    const result: GeneratedImage = { seed, status, iterations, residuals, evaluations, latents, rgb };
    emit({ type: 'image', image, result });
    return { result, sampled, decoded };
  }

  /** Draws the serial sample too and adds the difference; an aborted image, or one whose comparison is, stays as it is. */
  private async compared(job: Job, result: GeneratedImage, image: number): Promise<GeneratedImage> {
    const { signal, settings } = job;
    if (!result.rgb || result.status === 'aborted') return result;
    // A client of its own: its batches are not those of the run.
    const { status, x } = await serial(this.samplerOptions({ ...job }, image)).result;
    if (status === 'aborted') return result;
    const { width, height } = settings;
    const expected = await unlessAborted(this.networks.decode(finished(settings, x), width, height, signal), signal);
    if (!expected) return result;
    const [a, b] = [result.rgb.data, expected.data];
    return { ...result, error: { mean: meanAbsoluteDifference(a, b), max: maxAbsoluteDifference(a, b) } };
  }

  private samplerOptions(job: Job, image: number) {
    const { settings, conditional, unconditional, encodedInit, signal } = job;
    const { schedule, guidance, guidanceRescale } = settings;
    const dims = latentDims(this.model, settings);
    const start = prepareLatents(settings, image, sizeOf(dims), this.model.latentScale, encodedInit);
    const denoiser = engineDenoiser({
      batcher: this.batcher,
      graph: 'unet',
      output: this.networks.unetOutput,
      dims,
      predictionType: schedule.predictionType,
      bound: schedule.bound,
      conditional,
      unconditional,
      guidance,
      guidanceRescale,
      priority: [image],
      client: job,
      ...job.room,
    });
    return { ...start, denoiser, solver: settings.method, signal };
  }
}

/** The last state of a trajectory as the sample that diffusers has. */
function finished({ schedule, grid }: Settings, x: Float32Array): Float32Array {
  const scale = finalScale(schedule, grid[grid.length - 1].to);
  return scale === 1 ? x : x.map((value) => scale * value);
}

function countingSerial(settings: Settings): (count: EvaluationCount) => ImageEvaluations {
  const ofSerial = serialEvaluations(settings.method, settings.grid);
  return (count) => ({ ...count, serial: ofSerial });
}

/** An image that was given up before its first state was there. */
function aborted(seed: bigint, settings: Settings, size: number): GeneratedImage {
  const evaluations = countingSerial(settings)({ critical: 0, total: 0 });
  const latents = new Float32Array(size);
  return { seed, status: 'aborted', iterations: 0, residuals: [], evaluations, latents, rgb: undefined };
}
