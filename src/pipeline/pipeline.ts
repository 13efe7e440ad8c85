import { Batcher } from '../engine/batcher.js';
import { areEndpoints, CPU, isProcessor } from '../engine/device.js';
import { DeviceEngine } from '../engine/deviceEngine.js';
import { maxRowsOf, slotsOf, type Engine } from '../engine/engine.js';
import { SrdsError } from '../errors.js';
import { freeMemory } from '../engine/freeMemory.js';
import { findDevices } from '../engine/local/probe.js';
import { BUNDLED_MODEL, graphFiles, latentDims, type ModelFolder } from '../model/modelFolder.js';
import { ModelMemory } from '../model/modelMemory.js';
import { networkOf } from '../model/networkInputs.js';
import { Networks, sharedWarning } from '../model/networks.js';
import { openModel } from '../model/openModel.js';
import { serialForecast, type Machine } from '../planner/forecast.js';
import { batchSeconds } from '../planner/runTimes.js';
import { finishInTurns } from '../run/steps.js';
import type { EvaluationCount } from '../run/events.js';
import { Run } from '../run/run.js';
import { sizeOf } from '../tensor/tensor.js';
import { Activity } from './activity.js';
import { BatchEvents } from './batchEvents.js';
import { Calibration, type CalibrationTarget, type MeasuredTarget, type RunTimes } from './calibration.js';
import { abortedImage, compareWithSerial, generateImage, type ImageContext, type TimedImage } from './generateImage.js';
import { Decodings } from './decodings.js';
import { LearnedConvergence } from './learnedConvergence.js';
import { MemoryGuard, rowsOf } from './memoryGuard.js';
import { settingsOf, type GenerateOptions, type Settings } from './options.js';
import { checkedDevices, checkedFolder, type OpenOptions } from './openOptions.js';
import { prepareRun, type PreparedRun } from './prepareRun.js';
import type { GenerateEvent, GenerateForecast, GenerateResult, Phase } from './result.js';
import { RWLock } from './rwLock.js';
import { NO_ROOM, SamplerSelector, stoppingRuleOf, withinMemory, type SelectedSampler } from './selectSampler.js';
import { all, unlessAborted, untilAborted } from '../waiting.js';

/** Parts of a pipeline other than its model and engine. */
export interface PipelineOptions extends Pick<OpenOptions, 'lowMemory' | 'activity' | 'onBatch'> {
  /** Seconds that loading took, for reports. */
  readonly loadSeconds?: number;
  /** Distinguishes engines on the same devices in the cache of measurements. */
  readonly variant?: string;
}

type Emit = (event: GenerateEvent) => void;

/**
 * Text to image and image to image with a Stable Diffusion folder on an engine.
 * @example
 * const pipeline = await Pipeline.open();
 * const { images } = await pipeline.generate({ prompt: 'a red ball on the beach', steps: 50 }).result;
 * await pipeline.close();
 */
export class Pipeline {
  private readonly batcher: Batcher;
  private readonly networks: Networks;
  private readonly memory: ModelMemory;
  private readonly calibration: Calibration;
  private readonly convergence: LearnedConvergence;
  private readonly guard: MemoryGuard;
  private readonly selector = new SamplerSelector();
  private readonly loadSeconds: number;
  /** Sampling reads, measuring writes: devices are measured while nothing else runs on them. */
  private readonly devices = new RWLock();
  private readonly batches = new BatchEvents();
  private readonly decodings = new Decodings();
  private readonly activity: Activity;
  private isClosed = false;

  /**
   * @param engine with the model's graphs under the names of their folders; `close` closes it
   * @throws SrdsError MODEL_INVALID if a loaded graph is not one of Stable Diffusion
   */
  constructor(
    readonly model: ModelFolder,
    readonly engine: Engine,
    { lowMemory = false, loadSeconds = 0, variant = '', activity = new Activity(), onBatch }: PipelineOptions = {},
  ) {
    this.activity = activity;
    this.loadSeconds = loadSeconds;
    this.batcher = new Batcher(engine, (report) => {
      if (report.graph === model.family.network) this.batches.report(report);
      if (report.graph === 'vae_decoder') this.decodings.add(report);
      onBatch?.(report);
    });
    this.networks = new Networks(model, engine, this.batcher);
    this.networks.check();
    this.memory = new ModelMemory(model, engine, this.networks, lowMemory);
    this.guard = new MemoryGuard(model, engine);
    this.convergence = new LearnedConvergence(model);
    this.calibration = new Calibration(model, engine, this.networks, variant);
  }

  /**
   * Opens a model: the path of a diffusers folder of ONNX graphs, `owner/name` on the Hugging Face hub, or a folder that was
   * read. The default is the model that comes with this package.
   * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED, DEVICE_UNAVAILABLE, INVALID_OPTION
   */
  static async open(folder: string | ModelFolder = BUNDLED_MODEL, options: OpenOptions = {}): Promise<Pipeline> {
    const start = performance.now();
    const given = checkedDevices(options);
    const model = typeof folder === 'string' ? await openModel(folder, options) : checkedFolder(folder);
    const graphs = options.lowMemory ? [] : ModelMemory.atOnce(model);
    const devices = await findDevices(given ?? [CPU], options.onWarning);
    const processors = devices.filter(isProcessor);
    if (processors.every(({ kind }) => kind === 'cpu') && !options.lowMemory) {
      const { network } = model.family;
      const here = ModelMemory.atOnce(model).filter((graph) => graph !== network || !areEndpoints(devices));
      MemoryGuard.checkWeights(model, here, options.workers ?? 1, freeMemory());
    }
    const { threads, workers, precision = 'auto', fused = true, cudaGraphs = true } = options;
    const files = graphFiles(model, precision);
    const engine = await DeviceEngine.open(files, {
      ...options,
      devices,
      graphs,
      endpoints: { ...options.endpoints, ...networkOf(model) },
    });
    try {
      const variant = JSON.stringify([threads, workers, precision, fused, cudaGraphs]);
      return new Pipeline(model, engine, { ...options, variant, loadSeconds: (performance.now() - start) / 1000 });
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /**
   * Generates images: iterate the run for events, await its `result`.
   * @throws SrdsError INVALID_OPTION at once, also after `close`; the run fails with ENGINE_FAILED if the device does
   */
  generate(options: GenerateOptions): Run<GenerateEvent, GenerateResult> {
    this.checkOpen();
    const settings = settingsOf(options, this.model);
    return new Run(async (emit, signal) => {
      const work = (lastFor: (work: Promise<unknown>) => void) =>
        this.activity.during(() => this.run(settings, emit, signal, lastFor));
      const turn = this.memory.inTurn(work, signal);
      return (await unlessAborted(turn, signal)) ?? this.abortedResult(settings);
    }, options.signal);
  }

  /**
   * The machine as the planner sees it: the latency of batches of the denoising network, measured or from the cache.
   * @param fresh whether to measure in any case
   * @throws SrdsError as `generate` does
   */
  async machine(
    options: GenerateOptions,
    { fresh = false }: { readonly fresh?: boolean | undefined } = {},
  ): Promise<Machine> {
    this.checkOpen();
    const settings = settingsOf(options, this.model);
    const work = async () => {
      const { signal = new AbortController().signal } = options;
      const prepared = await this.prepare(settings, () => undefined, signal);
      try {
        const target = {
          settings,
          ...evaluationOf(prepared),
          maxRows: this.guard.rowsFor(settings),
        };
        const known =
          !fresh && (await this.calibration.isComplete(target)) ? await this.calibration.known(target) : undefined;
        const machine = known ?? (await this.devices.write(() => this.calibration.measure(target, signal)));
        return await this.withConvergence(machine, settings);
      } finally {
        prepared.release();
      }
    };
    return this.memory.inTurn(() => this.activity.during(work));
  }

  /** Whether the denoising network rounds as in half precision, so that no run waits for smaller changes. */
  get roundsCoarsely(): boolean {
    return this.networks.roundsCoarsely;
  }

  /**
   * Generates an image of two steps where batches have buckets, so that later images do not wait for the sessions of the networks to open.
   * Elsewhere, and where graphs are freed after each run, nothing is left to prepare.
   * @throws SrdsError as `generate` does
   */
  async warmUp(signal?: AbortSignal): Promise<void> {
    if (this.engine.buckets.length === 0 || this.memory.lowMemory) return;
    await this.generate({ prompt: '', steps: WARM_UP_STEPS, sampler: 'serial', previews: false, signal }).result;
  }

  /**
   * What `auto` would choose and how long sampling would take, from what is known of the devices so far: nothing is measured.
   * @returns undefined where nothing is known
   * @throws SrdsError INVALID_OPTION as `generate` does
   */
  async forecast(options: GenerateOptions): Promise<GenerateForecast | undefined> {
    this.checkOpen();
    const settings = settingsOf({ ...options, sampler: 'auto' }, this.model);
    return this.activity.during(() => this.forecastOf(settings));
  }

  private async forecastOf(settings: Settings): Promise<GenerateForecast | undefined> {
    const target = { settings, rows: rowsOf(settings), maxRows: this.guard.rowsFor(settings) };
    const known = await this.calibration.known(target);
    if (!known) return undefined;
    const machine = await this.withConvergence(known, settings);
    const serial = await finishInTurns(serialForecast({ steps: settings.serialEvaluations }, machine));
    const { choice, ...selected } = await this.selectAuto(settings, target, () => Promise.resolve(machine));
    const { sampler } = selected.settings;
    const { seconds } = choice?.chosen ?? serial;
    return { sampler, reason: choice?.reason, seconds, serialSeconds: serial.seconds };
  }

  /** Ends the device processes. Running generations fail. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all([this.engine.close(), this.convergence.save()]);
  }

  /** @throws SrdsError INVALID_OPTION after `close` */
  private checkOpen(): void {
    if (!this.isClosed) return;
    throw new SrdsError('INVALID_OPTION', 'an open pipeline', 'one that was closed', 'open another with Pipeline.open');
  }

  /** @param lastFor extends the run's turn until the work ends */
  private async run(
    settings: Settings,
    emit: Emit,
    signal: AbortSignal,
    lastFor: (work: Promise<unknown>) => void,
  ): Promise<GenerateResult> {
    const maxRows = this.guard.rowsFor(settings);
    if (signal.aborted) return this.abortedResult(settings);
    emit({ type: 'phase', phase: 'preparing' });
    const preparing = this.prepare(settings, emit, signal);
    lastFor(preparing);
    const prepared = await untilAborted(preparing, signal);
    if (!prepared) return this.abortedResult(settings);
    const target = { settings, ...evaluationOf(prepared), maxRows };
    const client = {};
    const batches: RunTimes['batches'][number][] = [];
    try {
      const begin = performance.now();
      const isFull = this.batcher.full;
      const selecting = this.select(settings, target, (phase) => emit({ type: 'phase', phase }), signal);
      const selected: SelectedSampler = (await untilAborted(selecting, signal)) ?? { settings: withoutAuto(settings) };
      const plan = (performance.now() - begin) / 1000;
      const limits = withinMemory(selected.limits, maxRows);
      if (maxRows < target.rows) emit({ type: 'warning', message: ONE_ROW });
      const { sampler, serialEvaluations } = selected.settings;
      emit({ type: 'plan', sampler, choice: selected.choice, serialEvaluations });
      emit({ type: 'phase', phase: 'sampling', expected: expectedOf(selected) });
      const beganAlone = this.batches.runs === 0;
      // Preparing and forecasts have no batches of the network, but take time of the devices and the host.
      const hasBeenAlone = this.activity.watch();
      this.batches.add(client, (event) => {
        emit(event);
        if (event.type !== 'batch') return;
        const { device, begin, end, rows, evaluations } = event;
        batches.push({ device, begin, end, rows, evaluations: evaluations.length });
      });
      const { begun } = this.batches;
      this.decodings.begin(this.memory.lowMemory);
      const generated = await this.generateAll({ ...selected, limits, prepared, client, emit, signal, plan });
      const isAlone = beganAlone && this.batches.begun === begun;
      // Batches with evaluations of other runs say nothing of the serial sampler.
      const single = batches.filter(({ evaluations }) => evaluations === 1).map(batchSeconds);
      const evaluation = isAlone ? (median(single) ?? (await this.calibration.evaluation(target))) : undefined;
      const serialSeconds =
        evaluation === undefined ? undefined : evaluation * serialEvaluations * settings.seeds.length;
      const result = { ...generated, serialSeconds };
      this.guard.keep(settings, maxRows);
      if (isFull && selected.choice?.reason === NO_ROOM) emit({ type: 'warning', message: SERIAL_UNDER_LOAD });
      if (this.batcher.delaysSpeculation(client)) emit({ type: 'warning', message: SRDS_UNDER_LOAD });
      // Otherwise the rows of an evaluation ran in batches of their own.
      const isWhole = limits?.splitsRows !== true && maxRows >= target.rows;
      // With other clients a run may take its serial course.
      if (isAlone) {
        await this.calibration.learn(target, {
          batches: isWhole && hasBeenAlone() && isOnly(result.settings) ? batches : [],
          isSerial: result.settings.sampler === 'serial',
          showsHost: showsHost(result.settings),
          decodings: this.decodings.least,
        });
        await this.convergence.learn(result.settings, result.images);
      }
      return result;
    } finally {
      this.batches.remove(client);
      prepared.release();
    }
  }

  private async generateAll(
    call: SelectedSampler &
      Pick<ImageContext, 'client' | 'emit' | 'signal'> & {
        readonly prepared: PreparedRun;
        /** Seconds of measuring and planning. */
        readonly plan: number;
      },
  ): Promise<Omit<GenerateResult, 'serialSeconds'>> {
    const { settings, choice, limits, prepared, client, emit, signal, plan } = call;
    const { model, networks, batcher } = this;
    const batchesBefore = this.batches.count;
    const timesteps = networks.timestepBatching;
    const chosen = choice && settings.sampler !== 'auto' ? settings.ignoredByChoice[settings.sampler] : undefined;
    for (const message of [settings.ignoredOptions, chosen]) {
      if (message !== undefined) emit({ type: 'warning', message });
    }
    if (timesteps.kind === 'shared' && settings.sampler !== 'serial') {
      emit({ type: 'warning', message: sharedWarning(timesteps.why) });
    }
    const context: ImageContext = { model, networks, batcher, settings, ...prepared, limits, client, emit, signal };
    const begin = performance.now() - prepared.seconds.init * 1000;
    const generated = await this.devices.read(async () => {
      const timed = await all(settings.seeds.map((_, image) => generateImage(context, image)));
      if (!settings.compare) return timed;
      const compared = timed.map(async (one, image) => ({
        ...one,
        result: await compareWithSerial(context, one.result, image),
      }));
      return all(compared);
    }, signal);
    const images = generated.map(({ result }) => result);
    const { load, encode } = prepared.seconds;
    const seconds = { load: this.loadSeconds + load, encode, plan, ...secondsOf(generated, begin) };
    return { images, settings, seconds, timesteps, choice, batches: this.batches.count - batchesBefore };
  }

  private prepare(settings: Settings, emit: Emit, signal: AbortSignal): Promise<PreparedRun> {
    const { model, engine, networks, memory } = this;
    const warn = (message: string) => emit({ type: 'warning', message });
    return this.devices.read(() => prepareRun({ model, engine, networks, memory }, settings, warn, signal), signal);
  }

  /** Resolves `auto`, and finds the sizes of batches. */
  private async select(
    settings: Settings,
    target: MeasuredTarget,
    enter: (phase: Phase) => void,
    signal: AbortSignal,
  ): Promise<SelectedSampler> {
    const { calibration } = this;
    const measureMore = async () => {
      // Measuring waits for the runs that are under way, and later ones wait for it.
      if (this.batches.runs > 0) return;
      const serialBatches = settings.seeds.length * settings.serialEvaluations;
      if (!(await calibration.isOpen(target, serialBatches))) return;
      enter('measuring');
      await this.devices.write(() => calibration.extend(target, signal, serialBatches));
    };
    if (settings.sampler === 'serial') {
      // Several devices may share the rows of an evaluation.
      const rows = target.rows;
      if (rows === 1 || this.slots < rows || this.batcher.full) return { settings };
      await measureMore();
      const machine = await calibration.known(target);
      return machine ? this.selector.given(settings, machine) : { settings };
    }
    if (settings.sampler !== 'auto') {
      // A curve that is not complete says nothing of batches larger than its own.
      const known = (await calibration.isComplete(target)) ? await calibration.known(target) : undefined;
      const machine = known ?? calibration.prior(target);
      if (!machine) {
        const unmeasured = await this.withConvergence(calibration.unmeasured(target), settings);
        return { settings, expected: (await this.selector.given(settings, unmeasured)).expected };
      }
      return this.selector.given(settings, await this.withConvergence(machine, settings));
    }
    return this.selectAuto(settings, target, async () => {
      await measureMore();
      enter('planning');
      const machine = await calibration.known(target);
      return machine ? this.withConvergence(machine, settings) : UNKNOWN_DEVICES;
    });
  }

  /** @param machineOf as in `SamplerSelector.select` */
  private selectAuto(
    settings: Settings,
    target: CalibrationTarget,
    machineOf: () => Promise<Machine | string>,
  ): Promise<SelectedSampler> {
    const most = this.slots * maxRowsOf(this.engine, this.model.family.network);
    const busy = this.batcher.full || this.networks.timestepBatching.kind === 'shared' || most < 2 * target.rows;
    return this.selector.select(settings, { busy, fewSteps: this.model.fewSteps }, async () =>
      target.maxRows < 2 * target.rows && this.slots === 1 ? NO_LARGER_BATCHES : machineOf(),
    );
  }

  /** Batches of the denoising network that can run at once. */
  private get slots(): number {
    return slotsOf(this.engine, this.model.family.network);
  }

  private async withConvergence(machine: Machine, settings: Settings): Promise<Machine> {
    return { ...machine, convergence: await this.convergence.known(settings) };
  }

  private abortedResult(settings: Settings): GenerateResult {
    const size = sizeOf(latentDims(this.model, settings));
    const images = settings.seeds.map((seed) => abortedImage(seed, settings, size));
    const seconds = { load: this.loadSeconds, encode: 0, plan: 0, sample: 0, decode: 0 };
    return { images, settings, seconds, timesteps: undefined, choice: undefined, serialSeconds: undefined, batches: 0 };
  }
}

const WARM_UP_STEPS = 2;

const ONE_ROW =
  'memory suffices for one row of the network at a time at this size; the two of a guided evaluation take turns';
const MAY_DIFFER = 'alone, the same seed may give an image that differs within the tolerance';
const SERIAL_UNDER_LOAD = `other runs filled the devices, so auto took the serial sampler; ${MAY_DIFFER}`;
const SRDS_UNDER_LOAD = `other runs filled the devices, so speculative evaluations waited; ${MAY_DIFFER}`;
const NO_LARGER_BATCHES = 'larger batches than those of the serial sampler would take much more memory at this size';
const UNKNOWN_DEVICES =
  'how long batches take here is not known yet; this run shows it for those of the serial sampler, and later runs measure larger ones';

/** Whether a run was one image, without the batches of another one between its own. */
function isOnly({ seeds, compare }: Settings): boolean {
  return seeds.length === 1 && !compare;
}

/** Whether nothing but the work of a sampler that is forecast lies between the batches of one image: none is decoded there. */
function showsHost(settings: Settings): boolean {
  const { sampler } = settings;
  if (sampler === 'serial') return true;
  return (sampler === 'srds' || sampler === 'picard') && !stoppingRuleOf(settings).decodesEach;
}

/** Evaluations that an image is expected to take; undefined without a forecast. */
function expectedOf({ settings, expected }: SelectedSampler): EvaluationCount | undefined {
  const { sampler, serialEvaluations: count } = settings;
  return sampler === 'serial' ? { critical: count, total: count } : expected;
}

/** The middle one, because the first batches may prepare the devices; undefined of none. */
function median(seconds: readonly number[]): number | undefined {
  return seconds.toSorted((a, b) => a - b).at(Math.max(0, Math.floor((seconds.length - 1) / 2)));
}

function evaluationOf({ conditional, unconditional }: PreparedRun): Pick<MeasuredTarget, 'rows' | 'conditioning'> {
  const conditioning = unconditional === undefined ? [conditional] : [conditional, unconditional];
  return { rows: conditioning.length, conditioning };
}

function withoutAuto(settings: Settings): Settings {
  return settings.sampler === 'auto' ? { ...settings, sampler: 'serial' } : settings;
}

/** Seconds of sampling and of decoding, of the image that took longest. */
function secondsOf(images: readonly TimedImage[], begin: number): { readonly sample: number; readonly decode: number } {
  return {
    sample: Math.max(...images.map(({ sampled }) => sampled - begin)) / 1000,
    decode: Math.max(...images.map(({ sampled, decoded }) => decoded - sampled)) / 1000,
  };
}
