import { engineDenoiser } from '../denoiser/engineDenoiser.js';
import type { Denoiser } from '../denoiser/denoiser.js';
import { Batcher, type BatchReport } from '../engine/batcher.js';
import type { ConditioningId, Engine } from '../engine/engine.js';
import { CpuEngine, type CpuEngineOptions } from '../engine/onnx/cpuEngine.js';
import { Generator } from '../random/generator.js';
import type { EvaluationCount, EvaluationEvent, SampleResult, SamplerEvent, Status } from '../sampler/events.js';
import { Run } from '../sampler/run.js';
import { serial } from '../sampler/serial.js';
import { srds } from '../sampler/srds.js';
import { fineGrid, type SolverStep } from '../schedule/grid.js';
import { ddim } from '../solver/ddim.js';
import { maxAbsoluteDifference, meanAbsoluteDifference } from '../tensor/operations.js';
import { sizeOf } from '../tensor/tensor.js';
import type { RgbImage } from './image.js';
import { BUNDLED_MODEL, readModelFolder, type ModelFolder } from './modelFolder.js';
import { Networks } from './network.js';
import { settingsOf, type GenerateOptions, type Settings } from './options.js';

/** Evaluations of a sample beside those that the serial sampler takes. */
export interface ImageEvaluations extends EvaluationCount {
  readonly serial: number;
}

/** One image, and how it was reached. */
export interface GeneratedImage {
  readonly seed: bigint;
  readonly status: Status;
  readonly iterations: number;
  /** Mean absolute change of the 8-bit image in each iteration, in grey levels. */
  readonly residuals: readonly number[];
  readonly evaluations: ImageEvaluations;
  /** [4, height / factor, width / factor], as the sampler ended with. */
  readonly latents: Float32Array;
  /** Of an aborted image the last iterate; undefined if there was none. */
  readonly rgb: RgbImage | undefined;
  /** Absolute difference to the serial sample in grey levels, if it was asked for. */
  readonly error?: { readonly mean: number; readonly max: number };
}

/** How long each part took, in seconds of wall clock. Decoding for the stopping test belongs to `sample`. */
export interface Seconds {
  readonly load: number;
  readonly encode: number;
  readonly sample: number;
  readonly decode: number;
}

/** What `generate` returns. */
export interface GenerateResult {
  readonly images: readonly GeneratedImage[];
  readonly settings: Settings;
  readonly seconds: Seconds;
}

/** What happens while images are drawn. `image` is the index of the image, from 0. */
export type GenerateEvent =
  | { readonly type: 'warning'; readonly message: string }
  | (EvaluationEvent & { readonly image: number; readonly evaluations: ImageEvaluations })
  | {
      readonly type: 'iteration';
      readonly image: number;
      readonly seed: bigint;
      readonly iteration: number;
      readonly residual: number | undefined;
      readonly evaluations: ImageEvaluations;
      /** The image so far. */
      readonly preview: RgbImage;
    }
  | { readonly type: 'image'; readonly image: number; readonly result: GeneratedImage };

/** How to open a pipeline on the CPU. */
export interface OpenOptions extends CpuEngineOptions {
  /** Called after each batch of the network, for traces and benchmarks. */
  readonly onBatch?: (report: BatchReport) => void;
}

const MAX_QUOTE = 200;

type Emit = (event: GenerateEvent) => void;

/** What the images of one call share. */
interface Job {
  readonly settings: Settings;
  readonly steps: readonly SolverStep[];
  readonly conditional: ConditioningId;
  readonly unconditional: ConditioningId | undefined;
  readonly emit: Emit;
  readonly signal: AbortSignal;
}

/** Text to image with a Stable Diffusion folder on an engine. */
export class Pipeline {
  private readonly batcher: Batcher;
  private readonly networks: Networks;

  /**
   * @param engine with the model's graphs loaded under the names of their folders; closed by `close`
   * @param loadSeconds how long that took, for reports
   * @throws SrdsError MODEL_INVALID if a graph is not of Stable Diffusion
   */
  constructor(
    readonly model: ModelFolder,
    readonly engine: Engine,
    private readonly loadSeconds = 0,
    onBatch?: (report: BatchReport) => void,
  ) {
    this.batcher = new Batcher(engine, onBatch);
    this.networks = new Networks(model, engine, this.batcher);
  }

  /**
   * Opens a diffusers folder of ONNX graphs on the CPU; without one, the model that comes with this package.
   * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, INVALID_OPTION
   */
  static async open(folder: string | ModelFolder = BUNDLED_MODEL, options: OpenOptions = {}): Promise<Pipeline> {
    const start = performance.now();
    const model = typeof folder === 'string' ? await readModelFolder(folder) : folder;
    const engine = await CpuEngine.open(model.graphs, options);
    try {
      return new Pipeline(model, engine, since(start), options.onBatch);
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
    return new Run((emit, signal) => this.draw(settings, emit, signal), options.signal);
  }

  /** Ends the device processes. Runs under way fail. */
  close(): Promise<void> {
    return this.engine.close();
  }

  private async draw(settings: Settings, emit: Emit, signal: AbortSignal): Promise<GenerateResult> {
    const steps = fineGrid(this.model.schedule, settings.steps);
    const start = performance.now();
    const registered: ConditioningId[] = [];
    const register = async (name: string, text: string): Promise<ConditioningId> => {
      const { ids, cut } = this.model.tokenizer.encode(text);
      if (cut) emit({ type: 'warning', message: cutWarning(name, cut, this.model.tokenizer.maxLength) });
      // The text is encoded even for a run that is aborted already: it takes milliseconds.
      const hidden = await this.networks.encodeText(ids, new AbortController().signal);
      const id = this.engine.register({ encoder_hidden_states: hidden });
      registered.push(id);
      return id;
    };
    try {
      const conditional = await register('prompt', settings.prompt);
      const unconditional =
        settings.guidance > 1 ? await register('negative prompt', settings.negativePrompt) : undefined;
      const encoded = performance.now();
      const job: Job = { settings, steps, conditional, unconditional, emit, signal };
      const drawn = await all(settings.seeds.map((seed, image) => this.drawOne(job, seed, image)));
      const images = settings.compare
        ? await all(drawn.map(({ result }, image) => this.compared(job, result, image)))
        : drawn.map(({ result }) => result);
      return {
        images,
        settings,
        seconds: {
          load: this.loadSeconds,
          encode: (encoded - start) / 1000,
          sample: Math.max(...drawn.map(({ sampled }) => sampled - encoded)) / 1000,
          decode: Math.max(...drawn.map(({ sampled, decoded }) => decoded - sampled)) / 1000,
        },
      };
    } finally {
      for (const id of registered) this.engine.release(id);
    }
  }

  private async drawOne(
    job: Job,
    seed: bigint,
    image: number,
  ): Promise<{ result: GeneratedImage; sampled: number; decoded: number }> {
    const { settings, steps, emit, signal } = job;
    const { width, height } = settings;
    const x = this.noise(job, seed);
    const denoiser = this.denoiser(job, image);

    const images = new WeakMap<Float32Array, Promise<RgbImage>>();
    const imageOf = (latents: Float32Array): Promise<RgbImage> => {
      const decoded = images.get(latents) ?? this.networks.decode(latents, width, height, signal);
      decoded.catch(() => undefined);
      images.set(latents, decoded);
      return decoded;
    };
    const residual = async (now: Float32Array, before: Float32Array): Promise<number> => {
      const [a, b] = await Promise.all([imageOf(now), imageOf(before)]);
      return meanAbsoluteDifference(a.data, b.data);
    };
    const withSerial = (count: EvaluationCount): ImageEvaluations => ({ ...count, serial: steps.length });

    const { partition, correction, pipelined, tolerance, maxIterations } = settings;
    const common = { x, steps, denoiser, solver: ddim, signal };
    const run: Run<SamplerEvent, SampleResult> =
      settings.sampler === 'serial'
        ? serial(common)
        : srds({ ...common, residual, partition, correction, pipelined, tolerance, maxIterations });
    let preview: RgbImage | undefined;
    for await (const event of run) {
      const evaluations = withSerial(event.evaluations);
      if (event.type === 'evaluation') {
        emit({ ...event, image, evaluations });
      } else {
        const { iteration, residual } = event;
        const shown = await unlessAborted(imageOf(event.x), signal);
        preview = shown ?? preview;
        if (shown) emit({ type: 'iteration', image, seed, iteration, residual, evaluations, preview: shown });
      }
    }
    const sample = await run.result;
    const sampled = performance.now();
    const rgb = sample.status === 'aborted' ? preview : await unlessAborted(imageOf(sample.x), signal);
    const decoded = performance.now();

    const { iterations, residuals, x: latents } = sample;
    const status = rgb ? sample.status : 'aborted';
    const evaluations = withSerial(sample.evaluations);
    const result: GeneratedImage = { seed, status, iterations, residuals, evaluations, latents, rgb };
    emit({ type: 'image', image, result });
    return { result, sampled, decoded };
  }

  /** Draws the serial sample too and adds the difference; an aborted image, or one whose comparison is, stays as it is. */
  private async compared(job: Job, result: GeneratedImage, image: number): Promise<GeneratedImage> {
    const { steps, signal, settings } = job;
    if (!result.rgb || result.status === 'aborted') return result;
    const options = {
      x: this.noise(job, result.seed),
      steps,
      denoiser: this.denoiser(job, image),
      solver: ddim,
      signal,
    };
    const { status, x } = await serial(options).result;
    if (status === 'aborted') return result;
    const expected = await unlessAborted(this.networks.decode(x, settings.width, settings.height, signal), signal);
    if (!expected) return result;
    const [a, b] = [result.rgb.data, expected.data];
    return { ...result, error: { mean: meanAbsoluteDifference(a, b), max: maxAbsoluteDifference(a, b) } };
  }

  private latentDims({ settings: { width, height } }: Job): number[] {
    const { latentChannels, vaeFactor } = this.model;
    return [latentChannels, height / vaeFactor, width / vaeFactor];
  }

  private noise(job: Job, seed: bigint): Float32Array {
    return new Generator(seed).randn(sizeOf(this.latentDims(job)));
  }

  private denoiser(job: Job, image: number): Denoiser {
    const { settings, conditional, unconditional } = job;
    return engineDenoiser({
      batcher: this.batcher,
      graph: 'unet',
      output: this.networks.unetOutput,
      dims: this.latentDims(job),
      predictionType: this.model.schedule.predictionType,
      conditional,
      unconditional,
      guidance: settings.guidance,
      priority: [image],
    });
  }
}

/** Waits for all, whether or not one fails, and then fails with the first that did. */
async function all<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

/** The value, or undefined if it failed because of an abort. */
async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  return promise.catch((error: unknown) => {
    if (signal.aborted) return undefined;
    throw error;
  });
}

function cutWarning(name: string, cut: string, maxLength: number): string {
  const shown = cut.length > MAX_QUOTE ? `${cut.slice(0, MAX_QUOTE)}..." (${cut.length} characters)` : `${cut}"`;
  return `the ${name} is longer than the ${maxLength} tokens that the text encoder takes; cut: "${shown}`;
}

function since(start: number): number {
  return (performance.now() - start) / 1000;
}
