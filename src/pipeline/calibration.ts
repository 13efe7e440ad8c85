import { stat } from 'node:fs/promises';
import type { ConditioningId, Engine, Evaluation } from '../engine/engine.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import type { Networks } from '../model/networks.js';
import { rowsThatPay, unmeasuredBuckets, type LatencyCurve } from '../planner/curve.js';
import { CurveStore } from '../planner/curveStore.js';
import type { Machine } from '../planner/forecast.js';
import { measureCurve } from '../planner/measure.js';
import { float32, sizeOf } from '../tensor/tensor.js';
import { version } from '../version.js';
import type { Settings } from './options.js';

/** The evaluations whose latency matters to a run. */
export interface CalibrationTarget {
  /** Size of the image in pixels, and a seed for each image. */
  readonly settings: Pick<Settings, 'width' | 'height' | 'seeds'>;
  /** Registered inputs of an evaluation. */
  readonly conditioning: readonly ConditioningId[];
}

/** The devices of a pipeline as the planner knows them. Each device's latency curve is measured once and kept. */
export class Calibration {
  private readonly store = new CurveStore();

  /** @param variant distinguishes engines on the same devices: threads, processes, precision */
  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
    private readonly networks: Networks,
    private readonly variant: string,
  ) {}

  /** The machine, if it was measured before. */
  async known(target: CalibrationTarget): Promise<Machine | undefined> {
    const key = await this.keyOf(target);
    const curve = key && (await this.store.get(key));
    return curve && this.machineOf(curve, target);
  }

  /** Measures the machine. @throws SrdsError ENGINE_FAILED; the reason of an abort */
  async measure(target: CalibrationTarget, signal: AbortSignal): Promise<Machine> {
    const { model, engine } = this;
    const evaluation = this.evaluationOf(target);
    const sampleSize = sizeOf(latentDims(model, target.settings));
    const measured = await measureCurve(engine, { evaluation, sampleSize, signal });
    const key = await this.keyOf(target);
    const about = { model: model.name, device: engine.device, version: version() };
    if (key) await this.store.put(key, measured, about);
    return this.machineOf(measured.curve, target);
  }

  /** A machine to assume where nothing was measured; undefined without batch buckets. */
  prior(target: CalibrationTarget): Machine | undefined {
    const buckets = this.engine.buckets.filter((rows) => rows >= target.conditioning.length);
    return buckets.length === 0 ? undefined : this.machineOf(unmeasuredBuckets(buckets), target);
  }

  private machineOf(curve: LatencyCurve, { settings, conditioning }: CalibrationTarget): Machine {
    const { engine } = this;
    return {
      devices: Array.from({ length: engine.slots }, () => curve),
      rowsPerEvaluation: conditioning.length,
      images: settings.seeds.length,
      maxRows: Math.min(engine.maxRows, Math.max(conditioning.length, rowsThatPay(curve))),
    };
  }

  private evaluationOf({ settings, conditioning }: CalibrationTarget): Evaluation {
    const dims = latentDims(this.model, settings);
    const sample = float32(new Float32Array(sizeOf(dims)), dims);
    const inputs = { sample, timestep: float32(Float32Array.of(500), []) };
    return { graph: 'unet', output: this.networks.unetOutput, inputs, conditioning };
  }

  /** What a curve depends on; undefined for a network without a file here, of which nothing is kept. */
  private async keyOf({ settings, conditioning }: CalibrationTarget): Promise<readonly unknown[] | undefined> {
    const { model, engine, variant } = this;
    const unet = model.graphs.unet ?? '';
    const stats = await stat(unet).catch(() => undefined);
    if (!stats) return undefined;
    const { buckets, slots, device } = engine;
    const { width, height } = settings;
    const { size, mtimeMs } = stats;
    return [version(), unet, size, mtimeMs, device, buckets, slots, variant, width, height, conditioning.length];
  }
}
