/** Kinds of devices, one for each execution provider of ONNX Runtime. */
export type DeviceKind = 'cpu' | 'cuda' | 'webgpu';

/** An input or output of a graph, as its file declares it; a free axis is a name. */
export interface TensorInfo {
  readonly name: string;
  readonly type: string;
  readonly dims: readonly (number | string)[];
}

/** Whether an input has one value for the whole batch: a scalar, or an axis that is fixed at 1. */
export function isShared({ dims }: Pick<TensorInfo, 'dims'>): boolean {
  return dims.length === 0 || (dims.length === 1 && dims[0] === 1);
}

/** A graph's file, and how it is to be opened. */
export interface GraphFile {
  /** Of an .onnx file; its weights may lie in others beside it. */
  readonly path: string;
  /** An input that is to have one value a row; the graph is rewritten if its file has one for the whole batch. */
  readonly perRow?: string;
  /** Whether odd batches get one row more on a CPU, so that a row gives the same bits whatever else is in its batch. */
  readonly evenRows?: boolean;
  /**
   * What it computes in; default: as the file has it. `auto` is half precision on GPUs where most weights are stored in it.
   */
  readonly precision?: Precision | 'auto' | undefined;
  /** A file of the same graph in half precision, taken where that is wanted. */
  readonly half?: string | undefined;
}

/** Arithmetic of a graph: as its file has it, or in half precision, weights and all. Inputs and outputs are float32. */
export type Precision = 'float32' | 'float16';

/** What became of an input that had one value for the whole batch. */
export type Rewrite =
  | { readonly status: 'rewritten'; readonly input: string }
  | { readonly status: 'impossible'; readonly input: string; readonly why: string };

/** What was written in fewer operators. */
export interface Fused {
  readonly attentions: number;
  /** Of groups. */
  readonly normalizations: number;
  /** Sums that are normalized. */
  readonly residuals: number;
  /** Products of one input that take the places of several. */
  readonly projections: number;
}

/** What a graph takes and gives. */
export interface GraphInfo {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** Not there if nothing had to be rewritten. */
  readonly rewrite?: Rewrite | undefined;
  /** What it was made to compute in; not there if that is as the file has it. */
  readonly precision?: Precision | undefined;
  /** Not there if nothing was. */
  readonly fused?: Fused | undefined;
}
