/** Kinds of devices, one for each execution provider of ONNX Runtime. */
export type DeviceKind = 'cpu' | 'cuda' | 'webgpu';

/** An input or output of a graph, as its file declares it; a free axis is a name. */
export interface TensorInfo {
  readonly name: string;
  readonly type: string;
  readonly dims: readonly (number | string)[];
  /** Whether it has no batch axis, so that all rows of a batch share one value; default: it has one, unless `isShared`. */
  readonly constant?: boolean;
}

/** Whether an input has one value for the whole batch: a scalar, or an axis that is fixed at 1. */
export function isShared({ dims }: Pick<TensorInfo, 'dims'>): boolean {
  return dims.length === 0 || (dims.length === 1 && dims[0] === 1);
}

/** Whether an input has a value for each row of a batch. */
export function hasBatchAxis(input: TensorInfo): boolean {
  return !isShared(input) && !input.constant;
}

/** An input that evaluations give, by which a graph's own input of another name is recognized. */
export interface InputRole {
  readonly name: string;
  /** Numbers of axes that it may have, the batch's included; default: any. */
  readonly ranks?: readonly number[];
  /** Whether it has whole numbers, such as token ids; default: any numbers. */
  readonly whole?: boolean;
  /** Length of its last axis, if that is the same in all models. */
  readonly last?: number;
  /** For an input that graphs may lack: a part of its name, without which no other input is taken for it. */
  readonly optional?: string;
}

/** A graph's file, and how to open it. */
export interface GraphFile {
  /** Path of an .onnx file; its weights may be in other files, in its folder or below it. */
  readonly path: string;
  /** The inputs that evaluations give; a graph that has other names for them is renamed. Default: the graph's own. */
  readonly inputs?: readonly InputRole[] | undefined;
  /** An input that needs one value a row; the graph is rewritten if the file has one value for the whole batch. */
  readonly perRow?: string;
  /** Names of inputs without a batch axis, such as the positions of Flux's tokens: evaluations of a batch have the same. */
  readonly constants?: readonly string[];
  /**
   * Whether batches are padded to an even number of rows on a CPU. A row's result then does not depend on its batch in UNets with
   * layers of other than multiples of 32 channels (measured); in other graphs it may.
   */
  readonly evenRows?: boolean;
  /**
   * Precision of the arithmetic; default: that of the file. `auto`: half precision on GPUs if most weights are stored in it.
   */
  readonly precision?: Precision | 'auto' | undefined;
  /** Kinds of devices on which `auto` may mean half precision; default: GPUs. */
  readonly halfOn?: readonly DeviceKind[];
  /** Whether it runs so often that on CUDA its batches are captured as CUDA graphs; default: no. */
  readonly replayed?: boolean;
  /**
   * Whether CUDA times all algorithms of a convolution when a batch is captured, or estimates which is the fastest. Batches of 24 to 64 rows of the
   * bundled UNet take 1.3 to 1.6 times as long with estimates; the decoder of an SD-2.1-size model opens 0.7 s earlier and is as fast. Default: yes.
   */
  readonly searches?: boolean;
  /** Kinds of devices that give the images of its first output in 8 bits too (`GraphInfo.image`); default: none. */
  readonly imageOn?: readonly DeviceKind[];
  /** A file of the same graph in half precision, which is used if half precision is wanted. */
  readonly half?: string | undefined;
}

/**
 * Rows of the largest batch of a graph that fixes the size of its batches. The last row of an odd batch would be rounded differently
 * from others where batches need even rows.
 * @param fixed rows of every batch, if the graph fixes them
 */
export function maxRows(fixed: number | undefined, evenRows = false): number | undefined {
  return fixed !== undefined && fixed > 1 && evenRows ? fixed - (fixed % 2) : fixed;
}

/** Precision of a graph's weights and arithmetic; inputs and outputs are float32. */
export type Precision = 'float32' | 'float16';

/** The result of rewriting an input that had one value for the whole batch. */
export type Rewrite =
  | { readonly status: 'rewritten'; readonly input: string }
  | { readonly status: 'impossible'; readonly input: string; readonly why: string };

/** Counts of the fusions in a graph. */
export interface Fused {
  readonly attentions: number;
  /** Group normalizations. */
  readonly normalizations: number;
  /** Normalizations that were fused with the sum before them. */
  readonly residuals: number;
  /** Matrix products that replace several products of the same input. */
  readonly projections: number;
}

/** Inputs and outputs of a graph, and what was changed in it. */
export interface GraphInfo {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /**
   * Name of a further output, with the images of the first one in 8 bits, uint8 [batch, height, width, 3]; undefined if not all devices of
   * an engine give it.
   */
  readonly image?: string | undefined;
  /** Rows of the largest batch, if the graph fixes the size of its batches; smaller ones are padded. Default: no limit. */
  readonly maxRows?: number | undefined;
  /** Undefined if nothing had to be rewritten. */
  readonly rewrite?: Rewrite | undefined;
  /** The precision that the graph was converted to; undefined if it is the file's. */
  readonly precision?: Precision | undefined;
  /** Whether it may round as in half precision although its values are float32, as servers with GPUs do that multiply in TF32. */
  readonly roundsCoarsely?: boolean | undefined;
  /** Undefined if nothing was fused. */
  readonly fused?: Fused | undefined;
}
