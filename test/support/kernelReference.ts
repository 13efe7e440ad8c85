import { f16round } from '@petamoriken/float16';
import type * as Koffi from 'koffi';
import type { CustomOperator, Tensor } from '../../src/engine/cuda/kernels/customOperators.js';
import { kernelOperators } from '../../src/engine/cuda/kernels/operators.js';
import { sizeOf } from '../../src/tensor/tensor.js';
import { readHalves, writeHalves } from './float16.js';

/** Values of a tensor with its channels last. */
export interface Values {
  readonly dims: readonly number[];
  readonly values: ArrayLike<number>;
}

/** What an operator gives: its first output, and the sum where it returns one. */
export interface Expected {
  readonly y: readonly number[];
  readonly sum?: readonly number[];
}

type Optional = Values | undefined;
type Numbers = Readonly<Record<string, number>>;

/** The operators of `engine/cuda/kernels`, in float64, by name; sums are rounded to float16, as they are when they are stored. */
export const REFERENCE: Readonly<Record<string, (inputs: readonly Optional[], attributes: Numbers) => Expected>> = {
  /** Wu and He 2018, then n sigmoid(n). */
  GroupNormalization: ([x, scale, shift, bias, addend, residual, rest], { groups, silu, epsilon }) => {
    const sum = sumOf(given(x), { bias, addend, residual, rest });
    const { rows, pixels, channels } = sum;
    const width = channels / groups;
    const y = new Array<number>(sum.values.length);
    for (let row = 0; row < rows; row++) {
      for (let group = 0; group < groups; group++) {
        const places = Array.from({ length: pixels * width }, (_, k) => {
          const pixel = row * pixels + Math.floor(k / width);
          return pixel * channels + group * width + (k % width);
        });
        const mean = average(places.map((at) => sum.values[at]));
        const variance = average(places.map((at) => (sum.values[at] - mean) ** 2));
        for (const at of places) {
          const channel = at % channels;
          const normal = (sum.values[at] - mean) / Math.sqrt(variance + epsilon);
          const n = normal * given(scale).values[channel] + given(shift).values[channel];
          y[at] = silu ? n / (1 + Math.exp(-n)) : n;
        }
      }
    }
    return { y, sum: sum.values };
  },
  Sum: ([x, bias, residual]) => ({ y: sumOf(given(x), { bias, residual }).values }),
  /** Shazeer 2020. */
  Geglu: ([x, bias]) => {
    const { dims, values } = given(x);
    const width = (dims.at(-1) ?? 0) / 2;
    const at = (row: number, k: number) => values[2 * row * width + k] + (bias?.values[k] ?? 0);
    const y = Array.from({ length: values.length / 2 }, (_, k) => {
      const [row, channel] = [Math.floor(k / width), k % width];
      const gate = at(row, width + channel);
      return (at(row, channel) * gate * (1 + erf(gate / Math.SQRT2))) / 2;
    });
    return { y };
  },
};

/** The operators as sessions on the CPU take them, computed by the reference. */
export function referenceOperators(koffi: typeof Koffi): readonly CustomOperator[] {
  const memoryOf = ({ dims, address }: Tensor) => koffi.view(address, 2 * sizeOf(dims));
  const read = (tensor: Tensor): Optional =>
    tensor.address === 0n ? undefined : { dims: tensor.dims, values: readHalves(memoryOf(tensor)) };
  return kernelOperators(() => undefined).map((operator) => ({
    ...operator,
    prepare: ({ integer, real }) => {
      const isNorm = operator.name === 'GroupNormalization';
      const attributes = isNorm ? { groups: integer('groups'), silu: integer('silu'), epsilon: real('epsilon') } : {};
      const launched = operator.prepare({ integer, real });
      return (inputs, output) => {
        // Shapes are checked as for a GPU, whose kernels would start.
        launched(inputs, (_, dims) => ({ dims, address: 1n }), 0n);
        const { y, sum } = REFERENCE[operator.name](inputs.map(read), attributes);
        for (const [k, { type, shapeOf }] of operator.outputs.entries()) {
          const tensor = output(k, shapeOf?.(inputs.map(({ dims }) => dims)) ?? [1]);
          if (tensor.address !== 0n && type === 'float16') writeHalves(memoryOf(tensor), k === 0 ? y : (sum ?? []));
        }
      };
    },
  }));
}

interface Image {
  readonly rows: number;
  readonly pixels: number;
  readonly channels: number;
  readonly values: readonly number[];
}

function sumOf(x: Values, terms: Partial<Record<'bias' | 'addend' | 'residual' | 'rest', Optional>>): Image {
  const { bias, addend, residual, rest } = terms;
  const first = x.dims.at(-1) ?? 1;
  const channels = first + (rest?.dims.at(-1) ?? 0);
  const [rows] = x.dims;
  const pixels = x.values.length / first / rows;
  const values = Array.from({ length: rows * pixels * channels }, (_, k) => {
    const [pixel, channel] = [Math.floor(k / channels), k % channels];
    if (rest && channel >= first) return rest.values[pixel * (channels - first) + channel - first];
    const at = pixel * first + channel;
    const spread = addend?.values[Math.floor(pixel / pixels) * first + channel] ?? 0;
    return f16round(x.values[at] + (bias?.values[channel] ?? 0) + spread + (residual?.values[at] ?? 0));
  });
  return { rows, pixels, channels, values };
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Error below 2e-7. Source: Abramowitz and Stegun, 7.1.26. */
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const polynomial = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - polynomial * Math.exp(-x * x));
}

function given(input: Optional): Values {
  if (!input) throw new Error('a node lacks an input that it must have');
  return input;
}
