import { groupsOf, type Engine } from '../engine/engine.js';
import { SrdsError } from '../errors.js';
import { activationMemory, promptMemory } from '../model/activationMemory.js';
import type { ImageSize } from '../model/family.js';
import { fixedSizeFor } from '../model/fixedShapes.js';
import type { GraphName } from '../model/graphNames.js';
import type { ModelFolder } from '../model/modelFolder.js';
import { ModelMemory } from '../model/modelMemory.js';
import { weightBytes } from '../model/weightBytes.js';
import { bytes } from './bytes.js';
import type { Settings } from './options.js';

/** What a larger batch may take in addition to what the serial run needs: a share of it, or a few hundred megabytes if that is more. */
const MORE_SHARE = 0.1;
const MORE_BYTES = 256e6;
/** A device process without a model. */
const PROCESS_BYTES = 100e6;
/** What a run may take beyond the estimate: a share of it, and some for its images in this process. */
const ERROR_SHARE = 0.1;
const ERROR_BYTES = 50e6;
/** Share of the free memory for which a size is recommended: the next process may find less. */
const SURE_SHARE = 0.9;

/** Bytes of activations on a CPU. */
interface RunMemory {
  /** For each row of a batch of the denoising network. */
  readonly denoiserRow: number;
  /** For all else: one image in the VAE, and the prompts in text encoders that stay loaded. */
  readonly others: number;
}

/** What decides how many rows memory suffices for. */
export interface MemoryNeed extends RunMemory {
  /** Bytes that batches may take. */
  readonly free: number;
  /** Bytes of the model's weights, and of the device process. */
  readonly base: number;
  /** Rows of an evaluation. */
  readonly rowsPerEvaluation: number;
  /** Device processes that take batches at the same time. */
  readonly processes: number;
}

/**
 * Rows of the largest batch: as many as are free, unless that takes much more memory than the serial sampler does.
 * @returns 0 if memory does not suffice for one row; less than `rowsPerEvaluation` if it does not for an evaluation at once
 */
export function rowsInMemory({ free, base, denoiserRow, others, rowsPerEvaluation, processes }: MemoryNeed): number {
  const fitting = (count: number) => Math.floor((free - others) / (denoiserRow * count));
  if (fitting(1) < 1) return 0;
  const serial = base + rowsPerEvaluation * denoiserRow + others;
  const more = Math.max(MORE_BYTES, MORE_SHARE * serial);
  const usual = rowsPerEvaluation + Math.floor(more / (denoiserRow * processes));
  return Math.max(1, Math.min(usual, fitting(processes)));
}

/** Keeps the batches and the decoding of a CPU within its memory, as far as they run here and not on endpoints. A GPU finds out by itself, and gives up the buckets that do not fit. */
export class MemoryGuard {
  /** Bytes of activations that earlier runs took. ONNX Runtime keeps them for later ones, as long as the process lives. */
  private kept = 0;
  /** The engine's restarts when they were noted. */
  private restarts: number | undefined;
  /** Whether a CPU here runs a graph. To ask for its free memory reads a dozen files. */
  private readonly onCpu = new Map<GraphName, boolean>();

  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
  ) {}

  /** @throws SrdsError INVALID_OPTION if the weights of graphs take more than is free */
  static checkWeights(model: ModelFolder, graphs: readonly GraphName[], processes: number, free: number): void {
    const needed = processes * weightBytes(model, graphs);
    if (needed <= free) return;
    throw new SrdsError(
      'INVALID_OPTION',
      `${bytes(needed)} of free memory for the weights of ${model.name}`,
      bytes(free),
      'free memory, use --low-memory or fewer --workers, or choose a smaller model',
    );
  }

  /**
   * Rows of the largest batch for a run.
   * @returns Infinity where the network's memory needs no watching, and where it suffices for the batches that its graph fixes
   * @throws SrdsError INVALID_OPTION if memory does not suffice, with what would fit
   */
  rowsFor(settings: Settings): number {
    const { model, engine } = this;
    const free = engine.freeMemory?.('vae_decoder');
    if (free === undefined) return Infinity;
    const rowsPerEvaluation = rowsOf(settings);
    const { network } = model.family;
    const batchRows = fixedRows(model, network);
    const here = ModelMemory.atOnce(model).filter((name) => name !== network || this.runsNetwork);
    const loading = here.filter((name) => (name === network || name === 'vae_decoder') && !engine.graphs.has(name));
    const missing = weightBytes(model, loading);
    const kept = this.keptFor(loading);
    const left = (free - missing + kept - ERROR_BYTES) / (1 + ERROR_SHARE);
    const need = { base: PROCESS_BYTES + weightBytes(model, here), processes: this.processes };
    const rowsAt = (size: ImageSize, bytesLeft: number) => {
      const { denoiserRow, others } = this.activations(settings, size);
      if (!this.runsNetwork) return others <= bytesLeft ? Infinity : 0;
      const common = { ...need, free: bytesLeft, others };
      if (batchRows === undefined) return rowsInMemory({ ...common, denoiserRow, rowsPerEvaluation });
      const batches = rowsInMemory({ ...common, denoiserRow: batchRows * denoiserRow, rowsPerEvaluation: 1 });
      return batches > 0 ? Infinity : 0;
    };
    const rows = rowsAt(settings, left);
    if (rows > 0) return rows;
    const { denoiserRow, others } = this.activations(settings, settings);
    const activations = (this.runsNetwork ? (batchRows ?? 1) * denoiserRow : 0) + others;
    const least = (1 + ERROR_SHARE) * activations + ERROR_BYTES + missing;
    const fixed = fixedSizeFor(model, settings.init !== undefined);
    const isFree = fixed.width === undefined && fixed.height === undefined;
    const fitting = isFree
      ? largestSize(settings, model.sizeStep, (size) => rowsAt(size, SURE_SHARE * left) > 0)
      : undefined;
    throw new SrdsError(
      'INVALID_OPTION',
      `about ${bytes(least)} of free memory for ${settings.width}x${settings.height} pixels on the CPU`,
      bytes(free + kept),
      fitting ? `choose a size of at most ${fitting.width}x${fitting.height}, or free memory` : 'free memory',
    );
  }

  /** Notes what a run that has ended took. @param rows of its largest batch */
  keep(settings: Settings, rows: number): void {
    const { denoiserRow, others } = this.activations(settings, settings);
    const batchRows = fixedRows(this.model, this.model.family.network);
    const used = this.runsNetwork ? (batchRows ?? Math.min(rows, rowsOf(settings))) : 0;
    if (!this.isOnCpu('vae_decoder')) return;
    this.kept = Math.max(this.keptFor([]), denoiserRow * used + others);
    this.restarts = this.engine.restarts;
  }

  /** What earlier runs left for the next one: nothing in a new process, and nothing of graphs that are to be loaded. */
  private keptFor(loading: readonly GraphName[]): number {
    return loading.length > 0 || this.restarts !== this.engine.restarts ? 0 : this.kept;
  }

  /** What a run takes, with the rows that graphs are padded to. */
  private activations(settings: Settings, size: ImageSize): RunMemory {
    const { model } = this;
    const { denoiserRow, vaeRow } = activationMemory(model, size);
    const encoderRows = settings.init === undefined ? 1 : (fixedRows(model, 'vae_encoder') ?? 1);
    const images = vaeRow * Math.max(fixedRows(model, 'vae_decoder') ?? 1, encoderRows);
    return { denoiserRow, others: images + this.prompts(settings) };
  }

  /** Memory of the prompts in text encoders that stay loaded, with the rows that their graphs are padded to. */
  private prompts(settings: Settings): number {
    const { model, engine } = this;
    return model.textEncoders.reduce((sum, encoder) => {
      if (!encoder || !engine.graphs.has(encoder.graph) || !this.isOnCpu(encoder.graph)) return sum;
      const rows = Math.max(rowsOf(settings), fixedRows(model, encoder.graph) ?? 1);
      return sum + rows * promptMemory(encoder, settings.sequenceLength ?? 0);
    }, 0);
  }

  /** Whether the CPU runs the denoising network. */
  private get runsNetwork(): boolean {
    return this.isOnCpu(this.model.family.network);
  }

  private isOnCpu(graph: GraphName): boolean {
    const isOnCpu = this.onCpu.get(graph) ?? this.engine.freeMemory?.(graph) !== undefined;
    this.onCpu.set(graph, isOnCpu);
    return isOnCpu;
  }

  /** Device processes here that take batches of the network at the same time. */
  private get processes(): number {
    const groups = groupsOf(this.engine, this.model.family.network).filter(({ isRemote = false }) => !isRemote);
    return Math.max(
      1,
      groups.reduce((sum, { slots }) => sum + slots, 0),
    );
  }
}

/** Rows of every batch of a graph, padding included, where it fixes them. */
function fixedRows({ described }: ModelFolder, graph: GraphName): number | undefined {
  return described.find(({ name }) => name === graph)?.description.maxRows;
}

/** Rows of an evaluation. */
export function rowsOf({ cfgScale }: Settings): number {
  return cfgScale > 1 ? 2 : 1;
}

/** The largest size of the same proportions, in whole steps, that fits; undefined if none does. */
function largestSize(
  { width, height }: ImageSize,
  step: number,
  fits: (size: ImageSize) => boolean,
): ImageSize | undefined {
  const larger = Math.max(width, height);
  for (let side = larger - step; side >= step; side -= step) {
    const scaled = (length: number) => Math.max(step, Math.round((length * side) / larger / step) * step);
    const size = { width: scaled(width), height: scaled(height) };
    if (fits(size)) return size;
  }
  return undefined;
}
