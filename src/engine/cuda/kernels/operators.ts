import { halvesOf, MOST_GROUPS, MOST_VECTORS } from '../../../onnx/fuse/kernels/domain.js';
import { sizeOf } from '../../../tensor/tensor.js';
import type { CustomOperator, Tensor } from './customOperators.js';
import type { Launch, Parameter } from './cudaKernels.js';
import { PIXELS_AT_ONCE, PIXELS_KEPT } from './source.js';

/** Threads of a block of elementwise kernels. */
const THREADS = 256;
const WARP = 32;
/** Groups of a batch that do not fill a GPU with a block each. */
const FEW_GROUPS = 256;
/** Most blocks that share the moments of a row. */
const MOST_CHUNKS = 64;

/**
 * The operators that `onnx/fuse/kernels` puts into graphs, computed by the kernels of `source.ts`. Tensors have their channels last.
 * @param launch starts a kernel
 */
export function kernelOperators(launch: Launch): readonly CustomOperator[] {
  /** Starts a kernel that computes each vector of so many values by itself. */
  const elementwise = (
    kernel: string,
    halves: number,
    values: number,
    stream: bigint,
    parameters: (vectors: number) => readonly Parameter[],
  ) => {
    const vectors = values / halves;
    const blocks = [Math.ceil(vectors / THREADS), 1] as const;
    launch(kernel, { halves, blocks, threads: THREADS, stream, parameters: parameters(vectors) });
  };
  return [
    {
      name: 'GroupNormalization',
      inputs: [3, 7],
      outputs: [
        { type: 'float16', shapeOf: ([x, scale]) => x.with(-1, sizeOf(scale)) },
        { type: 'float32' },
        { type: 'float16', isOptional: true, shapeOf: ([x, scale]) => x.with(-1, sizeOf(scale)) },
      ],
      prepare: ({ integer, real }) => {
        const [groups, silu, epsilon] = [integer('groups'), integer('silu'), real('epsilon')];
        return ([x, scale, shift, bias, addend, residual, rest], output, stream) => {
          const dims = x.dims.with(-1, sizeOf(scale.dims));
          const [y, sum] = [output(0, dims), output(2, dims)];
          const { rows, pixels, channels } = axesOf(y);
          const halves = halvesOf(channels / groups, x.dims.at(-1) ?? 1);
          const vectors = channels / halves;
          const ofGroup = channels / groups / halves;
          const atOnce = Math.min(Math.ceil(pixels / PIXELS_AT_ONCE), Math.floor(MOST_VECTORS / ofGroup));
          const isAtOnce = rows * groups <= FEW_GROUPS && pixels <= atOnce * PIXELS_KEPT;
          const lanes = Math.max(1, Math.ceil(THREADS / vectors));
          const inChunk = Math.max(lanes * PIXELS_AT_ONCE, Math.ceil(pixels / MOST_CHUNKS));
          const chunks = isAtOnce ? 1 : Math.ceil(pixels / inChunk);
          const moments = output(1, [rows, chunks, groups, 2]);
          const parameters = (inBlock: number): readonly Parameter[] => [
            ...termsOf(y, { x, bias, addend, residual, rest }),
            ['pointer', addressOf(scale, channels)],
            ['pointer', addressOf(shift, channels)],
            ['pointer', y.address],
            ['pointer', sum.address],
            ['pointer', moments.address],
            ['int', pixels],
            ['int', groups],
            ['int', chunks],
            ['int', inBlock],
            ['int', silu],
            ['float', epsilon],
          ];
          if (isAtOnce) {
            const threads = WARP * Math.ceil((atOnce * ofGroup) / WARP);
            launch('groupNormAtOnce', {
              halves,
              blocks: [groups, rows],
              threads,
              stream,
              parameters: parameters(pixels),
            });
            return;
          }
          if (groups > MOST_GROUPS || vectors > MOST_VECTORS) {
            throw new Error(`${groups} groups of ${channels} channels are too many`);
          }
          const threads = lanes * vectors;
          launch('groupMoments', { halves, blocks: [chunks, rows], threads, stream, parameters: parameters(inChunk) });
          const inBlock = lanes * PIXELS_AT_ONCE;
          const blocks = [Math.ceil(pixels / inBlock), rows] as const;
          launch('groupNorm', { halves, blocks, threads, stream, parameters: parameters(inBlock) });
        };
      },
    },
    {
      name: 'Sum',
      inputs: [1, 3],
      outputs: [{ type: 'float16', shapeOf: ([x]) => x }],
      prepare:
        () =>
        ([x, bias, residual], output, stream) => {
          const y = output(0, x.dims);
          const terms = termsOf(y, { x, bias, residual });
          elementwise('sum', halvesOf(y.dims.at(-1) ?? 1), sizeOf(y.dims), stream, (vectors) => [
            ...terms,
            ['pointer', y.address],
            ['long', vectors],
          ]);
        },
    },
    {
      name: 'Geglu',
      inputs: [1, 2],
      outputs: [{ type: 'float16', shapeOf: ([x]) => halved(x) }],
      prepare:
        () =>
        ([x, bias], output, stream) => {
          const y = output(0, halved(x.dims));
          const { channels } = axesOf(y);
          elementwise('geglu', halvesOf(channels), sizeOf(y.dims), stream, (vectors) => [
            ['pointer', x.address],
            ['pointer', addressOf(bias, 2 * channels)],
            ['pointer', y.address],
            ['long', vectors],
            ['int', channels],
          ]);
        },
    },
  ];
}

function halved(dims: readonly number[]): readonly number[] {
  return dims.with(-1, (dims.at(-1) ?? 0) / 2);
}

/** The axes of a tensor of [rows, ..., channels]. */
function axesOf({ dims }: Tensor): { readonly rows: number; readonly pixels: number; readonly channels: number } {
  const channels = dims.at(-1) ?? 1;
  return { rows: dims.length > 1 ? dims[0] : 1, pixels: sizeOf(dims.slice(1, -1)), channels };
}

/**
 * The struct Terms.
 * @throws Error if a term has another shape than the sum needs
 */
function termsOf(
  sum: Tensor,
  {
    x,
    bias,
    addend,
    residual,
    rest,
  }: { readonly x: Tensor } & Partial<Record<'bias' | 'addend' | 'residual' | 'rest', Tensor>>,
): readonly Parameter[] {
  const { rows, pixels, channels } = axesOf(sum);
  const first = x.dims.at(-1) ?? 0;
  if (first !== channels && !rest?.address) throw new Error(`a sum has ${channels} channels, and its terms ${first}`);
  const image = (tensor: Tensor | undefined, width: number) => addressOf(tensor, rows * pixels * width);
  return [
    ['pointer', image(x, first)],
    ['pointer', addressOf(bias, first)],
    ['pointer', addressOf(addend, rows * first)],
    ['pointer', image(residual, first)],
    ['pointer', image(rest, channels - first)],
    ['int', first],
    ['int', channels],
  ];
}

/** The address of a tensor, 0 if there is none. @throws Error if it has another size */
function addressOf(tensor: Tensor | undefined, size: number): bigint {
  if (!tensor || tensor.address === 0n) return 0n;
  if (sizeOf(tensor.dims) !== size) throw new Error(`a term has shape [${tensor.dims.join()}], not ${size} values`);
  return tensor.address;
}
