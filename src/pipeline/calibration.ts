import {
  bucketsOf,
  groupsOf,
  maxRowsOf,
  slotsOf,
  type ConditioningId,
  type DeviceGroup,
  type Engine,
  type Evaluation,
} from '../engine/engine.js';
import { DeviceFailure } from '../engine/retry.js';
import { SrdsError } from '../errors.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import { networkInputs } from '../model/networkDenoiser.js';
import type { Networks } from '../model/networks.js';
import { rowsThatPay, sharesRows, unmeasuredBuckets, type LatencyCurve } from '../planner/curve.js';
import { CurveStore } from '../planner/curveStore.js';
import { evaluationSeconds, type Machine } from '../planner/forecast.js';
import { canMeasure, isComplete, measureCurve, type MeasureOptions } from '../planner/measure.js';
import { curveOf, isEmpty, UNMEASURED, type Measurements } from '../planner/measurements.js';
import { batchSeconds, withRunTimes, withSerialTimes, type TimedBatch } from '../planner/runTimes.js';
import { sizeOf } from '../tensor/tensor.js';
import { version } from '../version.js';
import { all } from '../waiting.js';
import { networkIdentity } from './networkIdentity.js';
import type { Settings } from './options.js';
import { RecentRuns } from './recentRuns.js';

/** The evaluations whose latency matters to a run. */
export interface CalibrationTarget {
  /** Size of the image in pixels, a seed for each image, and the tokens of T5. */
  readonly settings: Pick<Settings, 'width' | 'height' | 'seeds' | 'sequenceLength'>;
  /** Rows of an evaluation. */
  readonly rows: number;
  /** Rows of the largest batch that memory suffices for. */
  readonly maxRows: number;
}

/** Evaluations that can be measured. */
export interface MeasuredTarget extends CalibrationTarget {
  /** Registered inputs of an evaluation, one for each row. */
  readonly conditioning: readonly ConditioningId[];
}

/** What a run shows of the devices. */
export interface RunTimes {
  /**
   * Batches of the network in the order in which they ended, with the names of their devices; none unless it was one image, and alone from its
   * first step to its last, with the rows of each evaluation in one batch.
   */
  readonly batches: readonly (TimedBatch & { readonly device: string })[];
  /** Whether it was by the serial sampler. */
  readonly isSerial: boolean;
  /** Whether nothing but the sampler's work lies between batches. */
  readonly showsHost: boolean;
  /** The least seconds of decoding an image, by the name of the device. */
  readonly decodings: ReadonlyMap<string, number>;
}

type MeasuringOptions = Pick<MeasureOptions, 'signal' | 'serialBatches' | 'measuresFirst' | 'known'>;

/** Equal devices, and what is known of them. */
interface MeasuredGroup {
  readonly group: DeviceGroup;
  readonly curve: LatencyCurve | undefined;
  readonly decodeSeconds?: number | undefined;
}

/** Ratio of two times of decoding an image that are kept as one. */
const DECODES_ALIKE = 1.1;

/**
 * The devices of a pipeline as the planner knows them. Latency curves are kept, and extended over several runs: the batches of serial
 * runs give their first point at no cost, and a run spends a tenth of its time on further ones.
 */
export class Calibration {
  private readonly store = new CurveStore();
  private readonly recent = new RecentRuns();
  /** Of the network as it was at first: every run asks for it several times. */
  private identity: ReturnType<typeof networkIdentity> | undefined;

  /** @param variant distinguishes engines on the same devices: threads, processes, precision */
  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
    private readonly networks: Networks,
    private readonly variant: string,
  ) {}

  /** The machine; undefined unless something is known of all its devices. */
  async known(target: CalibrationTarget): Promise<Machine | undefined> {
    const measured = await Promise.all(
      this.groups.map(async (group) => {
        return this.groupOf(group, await this.stored(group, target));
      }),
    );
    return this.machineOf(measured, target);
  }

  /** Seconds of a batch of one evaluation on the fastest device; undefined unless that is known. */
  async evaluation(target: CalibrationTarget): Promise<number | undefined> {
    const machine = await this.known(target);
    return machine && evaluationSeconds(machine);
  }

  /** Whether larger batches have nothing to add to what is known of any device. */
  async isComplete(target: CalibrationTarget): Promise<boolean> {
    const stored = await Promise.all(this.groups.map((group) => this.stored(group, target)));
    return stored.every((measured) => isComplete(measured, target.maxRows));
  }

  /**
   * Whether `extend` adds something.
   * @param serialBatches as in `extend`
   */
  async isOpen(target: MeasuredTarget, serialBatches: number): Promise<boolean> {
    const open = this.groups.map(async (group) => {
      const known = await this.stored(group, target);
      return canMeasure(group, this.measureOptions(target, { ...extending(group, serialBatches), known }));
    });
    return (await Promise.all(open)).includes(true);
  }

  /**
   * Measures the machine from the start, for as long as it takes. Endpoints that are out, or go out meanwhile, are left out.
   * @throws SrdsError ENGINE_FAILED; DEVICE_UNAVAILABLE if no device is left; the reason of an abort
   */
  async measure(target: MeasuredTarget, signal: AbortSignal): Promise<Machine> {
    const failures: DeviceFailure[] = [];
    const measured = await all(
      this.groups.map(async (group) => {
        try {
          return [this.groupOf(group, await this.run(group, target, { signal }))];
        } catch (error) {
          // The engine has warned of an endpoint that it takes out, but not of a busy one.
          if (!(error instanceof DeviceFailure) || error.kind === 'busy') throw error;
          failures.push(error);
          return [];
        }
      }),
    );
    const machine = this.machineOf(measured.flat(), target);
    if (machine) return machine;
    throw failures.at(0) ?? noDevice(this.engine);
  }

  /**
   * Extends what is known of the machine. Nothing is learned of an endpoint that fails meanwhile.
   * @param serialBatches of the serial run that measuring serves
   * @throws SrdsError ENGINE_FAILED; the reason of an abort
   */
  async extend(target: MeasuredTarget, signal: AbortSignal, serialBatches: number): Promise<void> {
    await all(
      this.groups.map(async (group) => {
        const known = await this.stored(group, target);
        const options = { ...extending(group, serialBatches), known, signal };
        await this.run(group, target, options).catch((error: unknown) => {
          if (!(error instanceof DeviceFailure)) throw error;
        });
      }),
    );
  }

  /** Measures equal devices. Others are measured at the same time, since samplers use all. */
  private async run(group: DeviceGroup, target: MeasuredTarget, options: MeasuringOptions): Promise<Measurements> {
    const curve = await measureCurve(group, this.measureOptions(target, options));
    const { decodeSeconds } = (await this.stored(group, target)) ?? UNMEASURED;
    const measured = { ...curve, hostSecondsEach: options.known?.hostSecondsEach, decodeSeconds };
    await this.keep(group, measured, target);
    this.recent.clear(await this.kindOf(group, target));
    return measured;
  }

  private measureOptions(target: MeasuredTarget, options: MeasuringOptions): MeasureOptions {
    const evaluation = this.evaluationOf(target);
    return { evaluation, sampleSize: this.sampleSize(target), maxRows: target.maxRows, ...options };
  }

  /** Learns from a run that had the devices to itself. */
  async learn(target: CalibrationTarget, run: RunTimes): Promise<void> {
    for (const group of this.groups) {
      const known = await this.stored(group, target);
      const timed = await this.withBatches(known, group, target, run);
      const learned = withDecoding(
        timed,
        Math.min(...group.devices.map((device) => run.decodings.get(device) ?? Infinity)),
      );
      if (learned && learned !== known) await this.keep(group, learned, target);
    }
  }

  /** What is known of a group, with what the batches of a run show. */
  private async withBatches(
    known: Measurements | undefined,
    group: DeviceGroup,
    target: CalibrationTarget,
    { batches, isSerial, showsHost }: RunTimes,
  ): Promise<Measurements | undefined> {
    const own = batches.filter(({ device }) => group.devices.includes(device));
    const { rows } = target;
    const isKnown = known?.aloneSeconds !== undefined || known?.points.some((one) => one.rows === rows && one.steady);
    if (isSerial && !isKnown && this.bucketsOf(group).length === 0) {
      const times = own.map(batchSeconds);
      const of = { times, rows, devices: group.slots, sampleSize: this.sampleSize(target) };
      return (await withSerialTimes(known, of)) ?? known;
    }
    // With several devices it depends on the run how many of them are busy during a batch.
    const isOnly = slotsOf(this.engine, this.model.family.network) === 1;
    if (!known || !isOnly || own.length === 0) return known;
    const kind = await this.kindOf(group, target);
    const recent = this.recent.add(kind, { batches: own, showsHost });
    const corrected = recent ? withRunTimes(known, recent) : known;
    // They do not count twice.
    if (corrected !== known) this.recent.clear(kind);
    return corrected;
  }

  /** A machine to assume where nothing was measured; undefined without batch buckets. */
  prior(target: CalibrationTarget): Machine | undefined {
    const { described, family } = this.model;
    const parameters = described.find(({ name }) => name === family.network)?.description.parameters ?? 0;
    const [, ...positions] = latentDims(this.model, target.settings);
    const work = parameters * sizeOf(positions);
    const assumed = this.groups.map((group) => {
      const buckets = this.bucketsOf(group).filter((rows) => rows >= target.rows);
      return { group, curve: buckets.length === 0 ? undefined : unmeasuredBuckets(buckets, work) };
    });
    return this.machineOf(assumed, target);
  }

  /** A machine without batch buckets on which a row takes as long as any other: it tells how many evaluations an image takes, not how long. */
  unmeasured({ rows, maxRows }: CalibrationTarget): Machine {
    const { network } = this.model.family;
    const most = Math.max(rows, Math.min(maxRowsOf(this.engine, network), maxRows));
    const curve = { points: [...new Set([1, most])].map((count) => ({ rows: count, seconds: count })), padded: false };
    const devices = Array.from({ length: slotsOf(this.engine, network) }, () => curve);
    const splitsRows = sharesRows(curve, rows, devices.length);
    return { devices, rowsPerEvaluation: rows, splitsRows, images: 1, maxRows: most };
  }

  private async stored(group: DeviceGroup, target: CalibrationTarget): Promise<Measurements | undefined> {
    const key = await this.keyOf(group, target);
    return key && this.store.get(key);
  }

  private async keep(group: DeviceGroup, measured: Measurements, target: CalibrationTarget): Promise<void> {
    const key = await this.keyOf(group, target);
    const about = { model: this.model.name, device: group.name, version: version() };
    if (key && !isEmpty(measured)) await this.store.put(key, measured, about);
  }

  /** What runs have in common that are compared. */
  private async kindOf(group: DeviceGroup, target: CalibrationTarget): Promise<string> {
    return JSON.stringify(await this.keyOf(group, target));
  }

  private groupOf(group: DeviceGroup, measured: Measurements | undefined): MeasuredGroup {
    const curve = measured && curveOf(measured, this.bucketsOf(group).length > 0);
    return { group, curve, decodeSeconds: measured?.decodeSeconds };
  }

  /** @param measured the groups of devices as they were when they were measured */
  private machineOf(
    measured: readonly MeasuredGroup[],
    { settings, rows, maxRows }: CalibrationTarget,
  ): Machine | undefined {
    const devices = measured.flatMap(({ group, curve }) =>
      curve ? Array.from({ length: group.slots }, () => curve) : [],
    );
    const known = new Set(devices);
    if (devices.length === 0 || measured.some(({ curve }) => !curve)) return undefined;
    const most = Math.min(maxRowsOf(this.engine, this.model.family.network), maxRows);
    const rowsWorth = Math.max(...[...known].map(rowsThatPay));
    return {
      devices,
      rowsPerEvaluation: rows,
      splitsRows: [...known].every((curve) => sharesRows(curve, rows, devices.length)),
      images: settings.seeds.length,
      maxRows: Math.max(rows, Math.min(most, rowsWorth)),
      decodeSeconds: decodeSecondsOf(measured),
    };
  }

  /** The devices of the network, in groups of equal ones. */
  private get groups(): readonly DeviceGroup[] {
    return groupsOf(this.engine, this.model.family.network);
  }

  /** Batch sizes that batches of the network are padded to. */
  private bucketsOf(group: DeviceGroup): readonly number[] {
    return bucketsOf(group, this.model.family.network);
  }

  private sampleSize({ settings }: CalibrationTarget): number {
    return sizeOf(latentDims(this.model, settings));
  }

  private evaluationOf({ settings, conditioning }: MeasuredTarget): Evaluation {
    const dims = latentDims(this.model, settings);
    const { network, layout, ...family } = this.model.family;
    const inputs = networkInputs({ ...family, dims: layout.dims(dims) }, new Float32Array(sizeOf(dims)), 500);
    return { graph: network, output: this.networks.denoiserOutput, inputs, conditioning };
  }

  /** What a curve depends on; undefined for a network without a file here, of which nothing is kept. */
  private async keyOf(
    group: DeviceGroup,
    { settings, rows }: CalibrationTarget,
  ): Promise<readonly unknown[] | undefined> {
    const { model, variant } = this;
    const network = await (this.identity ??= networkIdentity(model));
    if (!network) return undefined;
    const { slots, name: device } = group;
    const buckets = this.bucketsOf(group);
    const { width, height, sequenceLength } = settings;
    const tokens = sequenceLength === undefined ? [] : [sequenceLength];
    return [version(), ...network, device, buckets, slots, variant, width, height, rows, ...tokens];
  }
}

/** @param seconds of decoding an image; Infinity if the run decoded none */
function withDecoding(known: Measurements | undefined, seconds: number): Measurements | undefined {
  if (!Number.isFinite(seconds)) return known;
  const change = Math.abs(Math.log(seconds / (known?.decodeSeconds ?? 0)));
  // Small differences are no reason to write a file.
  return change < Math.log(DECODES_ALIKE) ? known : { ...(known ?? UNMEASURED), decodeSeconds: seconds };
}

/** Seconds that decoding an image takes from the devices of the network; undefined if that is not known. */
function decodeSecondsOf(measured: readonly MeasuredGroup[]): number | undefined {
  // Endpoints run nothing but the network.
  if (measured.every(({ group }) => group.isRemote)) return 0;
  const known = measured.flatMap(({ decodeSeconds }) => decodeSeconds ?? []);
  return known.length > 0 ? Math.min(...known) : undefined;
}

/** How a run extends what is known of a group. */
function extending(group: DeviceGroup, serialBatches: number): MeasuringOptions {
  return { serialBatches, measuresFirst: group.isRemote };
}

function noDevice({ device }: Engine): SrdsError {
  const remedy = 'start its server again, or name another device; srds doctor --device shows what they say';
  return new SrdsError('DEVICE_UNAVAILABLE', `a device to measure among ${device}`, 'none that is ready', remedy);
}
