import { bucketsOf, maxRowsOf, type ConditioningId, type Engine, type Evaluation } from '../engine/engine.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import { networkInputs } from '../model/networkDenoiser.js';
import type { Networks } from '../model/networks.js';
import { rowsThatPay, sharesRows, unmeasuredBuckets, type LatencyCurve } from '../planner/curve.js';
import { CurveStore } from '../planner/curveStore.js';
import type { Machine } from '../planner/forecast.js';
import { curveOf, measureCurve, withSerialTimes, type MeasureOptions, type Measurements } from '../planner/measure.js';
import { sizeOf } from '../tensor/tensor.js';
import { version } from '../version.js';
import { networkIdentity } from './networkIdentity.js';
import type { Settings } from './options.js';

/** The evaluations whose latency matters to a run. */
export interface CalibrationTarget {
  /** Size of the image in pixels, a seed for each image, and the tokens of T5. */
  readonly settings: Pick<Settings, 'width' | 'height' | 'seeds' | 'sequenceLength'>;
  /** Registered inputs of an evaluation. */
  readonly conditioning: readonly ConditioningId[];
  /** Rows of the largest batch that memory suffices for. */
  readonly maxRows: number;
}

/**
 * The devices of a pipeline as the planner knows them. Latency curves are kept, and extended over several runs: the batches of serial
 * runs give their first point at no cost, and a run spends a tenth of its time on further ones.
 */
export class Calibration {
  private readonly store = new CurveStore();

  /** @param variant distinguishes engines on the same devices: threads, processes, precision */
  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
    private readonly networks: Networks,
    private readonly variant: string,
  ) {}

  /** The machine, as far as it was measured. */
  async known(target: CalibrationTarget): Promise<Machine | undefined> {
    const measured = await this.stored(target);
    return measured && this.machineOf(measured, target);
  }

  /** Whether measuring may add something that a run of so many serial batches has time for. */
  async isOpen(target: CalibrationTarget): Promise<boolean> {
    const measured = await this.stored(target);
    return measured ? !measured.complete : this.buckets.length > 0;
  }

  /** Measures the machine from the start, for as long as it takes. @throws SrdsError ENGINE_FAILED; the reason of an abort */
  async measure(target: CalibrationTarget, signal: AbortSignal): Promise<Machine> {
    const machine = this.machineOf(await this.run(target, { signal }), target);
    if (machine) return machine;
    throw new Error('a measurement without a time limit has no point');
  }

  /**
   * Extends what is known of the machine.
   * @param serialBatches of the serial run that measuring serves
   * @throws SrdsError ENGINE_FAILED; the reason of an abort
   */
  async extend(target: CalibrationTarget, signal: AbortSignal, serialBatches: number): Promise<void> {
    await this.run(target, { signal, serialBatches, known: await this.stored(target) });
  }

  private async run(
    target: CalibrationTarget,
    options: Pick<MeasureOptions, 'signal' | 'serialBatches' | 'known'>,
  ): Promise<Measurements> {
    const evaluation = this.evaluationOf(target);
    const sampleSize = this.sampleSize(target);
    const { maxRows } = target;
    const measured = await measureCurve(this.engine, { evaluation, sampleSize, maxRows, ...options });
    await this.keep(measured, target);
    return measured;
  }

  /** Learns from the batches of a serial run that had the devices to itself. @param times seconds of each batch of one evaluation */
  async learn(target: CalibrationTarget, times: readonly number[]): Promise<void> {
    const rows = target.conditioning.length;
    const known = await this.stored(target);
    const isKnown = known?.aloneSeconds !== undefined || known?.points.some((one) => one.rows === rows && one.steady);
    if (isKnown || this.buckets.length > 0) return;
    const { slots } = this.engine;
    const of = { times, rows, devices: slots, sampleSize: this.sampleSize(target) };
    const learned = await withSerialTimes(known, of);
    if (learned) await this.keep(learned, target);
  }

  /** A machine to assume where nothing was measured; undefined without batch buckets. */
  prior(target: CalibrationTarget): Machine | undefined {
    const buckets = this.buckets.filter((rows) => rows >= target.conditioning.length);
    return buckets.length === 0 ? undefined : this.machineWith(unmeasuredBuckets(buckets), target);
  }

  /** A machine without batch buckets on which a row takes as long as any other: it tells how many evaluations an image takes, not how long. */
  unmeasured({ settings, conditioning, maxRows }: CalibrationTarget): Machine {
    const most = Math.max(conditioning.length, Math.min(maxRowsOf(this.engine, this.model.family.network), maxRows));
    const points = [...new Set([1, most])].map((rows) => ({ rows, seconds: rows }));
    const target = { settings: { ...settings, seeds: settings.seeds.slice(0, 1) }, conditioning, maxRows };
    return { ...this.machineWith({ points, padded: false }, target), maxRows: most };
  }

  private async stored(target: CalibrationTarget): Promise<Measurements | undefined> {
    const key = await this.keyOf(target);
    return key && this.store.get(key);
  }

  private async keep(measured: Measurements, target: CalibrationTarget): Promise<void> {
    const { model, engine } = this;
    const key = await this.keyOf(target);
    const isEmpty = measured.points.length === 0 && measured.aloneSeconds === undefined;
    if (key && !isEmpty)
      await this.store.put(key, measured, { model: model.name, device: engine.device, version: version() });
  }

  private machineOf(measured: Measurements, target: CalibrationTarget): Machine | undefined {
    const curve = curveOf(measured, this.buckets.length > 0);
    return curve && this.machineWith(curve, target);
  }

  private machineWith(curve: LatencyCurve, { settings, conditioning, maxRows }: CalibrationTarget): Machine {
    const { engine } = this;
    const most = Math.min(maxRowsOf(engine, this.model.family.network), maxRows);
    return {
      devices: Array.from({ length: engine.slots }, () => curve),
      rowsPerEvaluation: conditioning.length,
      splitsRows: sharesRows(curve, conditioning.length, engine.slots),
      images: settings.seeds.length,
      maxRows: Math.max(conditioning.length, Math.min(most, rowsThatPay(curve))),
    };
  }

  /** Batch sizes that batches of the network are padded to. */
  private get buckets(): readonly number[] {
    return bucketsOf(this.engine, this.model.family.network);
  }

  private sampleSize({ settings }: CalibrationTarget): number {
    return sizeOf(latentDims(this.model, settings));
  }

  private evaluationOf({ settings, conditioning }: CalibrationTarget): Evaluation {
    const dims = latentDims(this.model, settings);
    const { network, layout, ...family } = this.model.family;
    const inputs = networkInputs({ ...family, dims: layout.dims(dims) }, new Float32Array(sizeOf(dims)), 500);
    return { graph: network, output: this.networks.denoiserOutput, inputs, conditioning };
  }

  /** What a curve depends on; undefined for a network without a file here, of which nothing is kept. */
  private async keyOf({ settings, conditioning }: CalibrationTarget): Promise<readonly unknown[] | undefined> {
    const { model, engine, buckets, variant } = this;
    const network = await networkIdentity(model);
    if (!network) return undefined;
    const { slots, device } = engine;
    const { width, height, sequenceLength } = settings;
    const tokens = sequenceLength === undefined ? [] : [sequenceLength];
    return [version(), ...network, device, buckets, slots, variant, width, height, conditioning.length, ...tokens];
  }
}
