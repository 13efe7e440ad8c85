import { SrdsError } from '../errors.js';
import type { GraphDescription } from '../onnx/describe.js';
import type { GraphFile } from '../onnx/graphInfo.js';
import { matchInputs } from '../onnx/matchInputs.js';
import type { GraphName } from './graphNames.js';

/** Sides of images that graphs fix, in pixels; undefined if the side is free. */
export interface FixedSize {
  readonly width: number | undefined;
  readonly height: number | undefined;
}

/** A graph of a folder: its file, and what that contains. */
export interface DescribedGraph {
  readonly name: GraphName;
  readonly file: GraphFile;
  readonly description: GraphDescription;
}

/** A length that a graph fixes. */
interface FixedLength {
  readonly name: GraphName;
  readonly path: string;
  readonly length: number;
}

/**
 * The sides that the graphs of a folder fix.
 * @param vaeFactor pixels for each latent, along each side
 * @throws SrdsError MODEL_INVALID if graphs fix different ones
 */
export function fixedSize(graphs: readonly DescribedGraph[], vaeFactor: number): FixedSize {
  const side = (axis: number, what: string): number | undefined =>
    agreed(
      graphs.flatMap(({ name, file, description }) => {
        const [first] = file.inputs ?? [];
        const dims = (first as typeof first | undefined)?.ranks?.includes(4)
          ? dimsOf(description, file, first.name)
          : [];
        const length = dims.length === 4 ? dims[axis] : undefined;
        if (typeof length !== 'number') return [];
        return [{ name, path: file.path, length: name === 'vae_encoder' ? length : length * vaeFactor }];
      }),
      what,
    );
  return { width: side(3, 'a width in pixels'), height: side(2, 'a height in pixels') };
}

/**
 * The number of latent channels that graphs fix.
 * @throws SrdsError MODEL_INVALID if it is not that of the configuration
 */
export function checkChannels(graphs: readonly DescribedGraph[], channels: number): void {
  for (const { name, file, description } of graphs) {
    const [first] = file.inputs ?? [];
    if (name === 'vae_encoder' || !(first as typeof first | undefined)?.ranks?.includes(4)) continue;
    const found = dimsOf(description, file, first.name).at(1);
    if (typeof found !== 'number' || found === channels) continue;
    throw new SrdsError(
      'MODEL_INVALID',
      `${channels} latent channels in ${file.path}`,
      `${found}${name === 'unet' ? (OTHER_UNETS[found] ?? '') : ''}`,
      'use the whole folder of one text-to-image model',
    );
  }
}

/** What UNets of other numbers of input channels are for. */
export const OTHER_UNETS: Readonly<Partial<Record<number, string>>> = {
  7: ', as in upscalers',
  8: ', as in InstructPix2Pix',
  9: ', as in inpainting models',
};

/**
 * The number of tokens that a text encoder's graph fixes.
 * @returns undefined if it is free
 */
export function fixedTokens({ file, description }: DescribedGraph): number | undefined {
  const length = dimsOf(description, file, 'input_ids').at(1);
  return typeof length === 'number' ? length : undefined;
}

function agreed(lengths: readonly FixedLength[], what: string): number | undefined {
  const [first, ...others] = lengths;
  const other = others.find(({ length }) => length !== first.length);
  if (!other) return (first as FixedLength | undefined)?.length;
  throw new SrdsError(
    'MODEL_INVALID',
    `${what} of ${first.length} in ${other.path}, as in ${first.path}`,
    String(other.length),
    'export all graphs for the same size',
  );
}

/** Shape of the input that evaluations give by that name; empty if there is none. */
function dimsOf({ inputs }: GraphDescription, file: GraphFile, name: string): readonly (number | string)[] {
  const own = [...matchInputs(inputs, file.inputs ?? [])].find(([, given]) => given === name)?.[0];
  return inputs.find((input) => input.name === own)?.dims ?? [];
}
