import { SrdsError } from '../errors.js';
import type { GraphDescription } from '../onnx/describe.js';
import type { GraphFile } from '../onnx/graphInfo.js';
import { matchInputs } from '../onnx/matchInputs.js';
import { isDenoiser, type GraphName, type TextEncoderName } from './graphNames.js';

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
  readonly path: string;
  readonly length: number;
}

/**
 * The sides that the graphs of a folder fix.
 * @param graphs those that a run uses: an encoder only with an initial image
 * @param vaeFactor pixels for each latent, along each side
 * @throws SrdsError MODEL_INVALID if graphs fix different ones
 */
function fixedSize(graphs: readonly DescribedGraph[], vaeFactor: number): FixedSize {
  const side = (axis: number, what: string): number | undefined =>
    agreed(
      graphs.flatMap(({ name, file, description }) => {
        const length = latentAxes(file, description)[axis];
        if (typeof length !== 'number') return [];
        if (name !== 'vae_encoder') return [{ path: file.path, length: length * vaeFactor }];
        if (length % vaeFactor === 0) return [{ path: file.path, length }];
        const expected = `${what} that is a multiple of ${vaeFactor} in ${file.path}`;
        throw new SrdsError('MODEL_INVALID', expected, String(length), 'export it for the size of the other graphs');
      }),
      what,
    );
  return { width: side(3, 'a width in pixels'), height: side(2, 'a height in pixels') };
}

/** The sides that graphs fix in a run with an initial image, or in one without. @throws SrdsError as `fixedSize` does */
export function fixedSizeFor(
  { described, vaeFactor }: { readonly described: readonly DescribedGraph[]; readonly vaeFactor: number },
  hasInit: boolean,
): FixedSize {
  return fixedSize(hasInit ? described : described.filter(({ name }) => name !== 'vae_encoder'), vaeFactor);
}

/**
 * The number of latent channels that graphs fix.
 * @throws SrdsError MODEL_INVALID if it is not that of the configuration
 */
export function checkGraphChannels(graphs: readonly DescribedGraph[], channels: number): void {
  for (const { name, file, description } of graphs) {
    if (name === 'vae_encoder') continue;
    const found = latentAxes(file, description).at(1);
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

/**
 * The number of tokens of T5 that graphs fix; for families without T5, that of the network's text states.
 * @param t5 the text encoder
 * @param clipRows rows of the network's text states that CLIP gives
 * @returns undefined if it is free
 * @throws SrdsError MODEL_INVALID if graphs fix different ones
 */
export function fixedSequenceLength(
  graphs: readonly DescribedGraph[],
  t5: TextEncoderName | undefined,
  clipRows: number,
): number | undefined {
  const rowsOf = ({ name, file, description }: DescribedGraph): readonly (number | string | undefined)[] => {
    if (name === t5) return dimsOf(description, file, 'input_ids').slice(1);
    if (!isDenoiser(name)) return [];
    const rows = dimsOf(description, file, 'encoder_hidden_states').at(1);
    return [typeof rows === 'number' ? rows - clipRows : rows, dimsOf(description, file, 'txt_ids').at(-2)];
  };
  const what = 'a number of text tokens';
  const fixed = agreed(
    graphs.flatMap((graph) =>
      rowsOf(graph).flatMap((length) => (typeof length === 'number' ? [{ path: graph.file.path, length }] : [])),
    ),
    what,
  );
  if (fixed === undefined || fixed >= 1) return fixed;
  throw new SrdsError('MODEL_INVALID', `${what} of at least 1 in the graphs`, String(fixed), 'export them again');
}

/**
 * The number of tokens of an image that the graph of a network on tokens fixes.
 * @returns undefined if it is free
 * @throws SrdsError MODEL_INVALID if its inputs differ
 */
export function fixedImageTokens(graphs: readonly DescribedGraph[]): number | undefined {
  const lengths = graphs
    .filter(({ name }) => isDenoiser(name))
    .flatMap(({ file, description }) => {
      const latents = dimsOf(description, file, 'hidden_states');
      const counts = [latents.length === 3 ? latents[1] : undefined, dimsOf(description, file, 'img_ids').at(-2)];
      return counts.flatMap((length) => (typeof length === 'number' ? [{ path: file.path, length }] : []));
    });
  return agreed(lengths, 'a number of image tokens');
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

/** Axes of the latents or pixels that a graph takes; empty if it takes no such. */
function latentAxes(file: GraphFile, description: GraphDescription): readonly (number | string)[] {
  const [first] = file.inputs ?? [];
  const dims = (first as typeof first | undefined)?.ranks?.includes(4) ? dimsOf(description, file, first.name) : [];
  return dims.length === 4 ? dims : [];
}

/** Whether an input has as many axes as rows of it do, so that it lacks the batch's. @param axes of a row */
export function lacksBatchAxis({ description, file }: DescribedGraph, name: string, axes: number): boolean {
  return dimsOf(description, file, name).length === axes;
}

/** Shape of the input that evaluations give by that name; empty if there is none. */
function dimsOf({ inputs }: GraphDescription, file: GraphFile, name: string): readonly (number | string)[] {
  const own = [...matchInputs(inputs, file.inputs ?? [])].find(([, given]) => given === name)?.[0];
  return inputs.find((input) => input.name === own)?.dims ?? [];
}
