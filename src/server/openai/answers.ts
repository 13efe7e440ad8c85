import { encodeImage, type ImageFormat } from '../../image/encode.js';
import type { ModelFolder } from '../../model/modelFolder.js';
import type { Settings } from '../../pipeline/options.js';
import { pngParameters } from '../../pipeline/pngParameters.js';
import type { GenerationResult } from '../generate.js';
import type { CompleteImage } from '../interruption.js';
import type { StoredImages } from '../storedImages.js';
import type { GenerationRequest, ImagesAnswer, Usage } from './schemas.js';

/** The format of a file. */
type Output = Pick<GenerationRequest, 'output_format' | 'output_compression'>;

/** A seed in JSON: text beyond 2^53, where JSON's numbers lose digits. */
export function jsonSeed(seed: bigint): number | string {
  const number = Number(seed);
  return Number.isSafeInteger(number) ? number : String(seed);
}

/** How an image was generated. */
export function srdsOf({ status, iterations, residuals, evaluations }: CompleteImage, { sampler }: Settings) {
  return { status, sampler, iterations, residuals: [...residuals], evaluations };
}

export function aboutImages({ output_format }: Output, { width, height }: { width: number; height: number }) {
  return { background: 'opaque', output_format, quality: 'auto', size: `${width}x${height}` } as const;
}

/** An image as a file, with its parameters where the format can hold them. */
export async function fileOf(
  image: CompleteImage,
  { result, model }: GenerationResult,
  output: Output,
): Promise<Buffer> {
  const { output_format: format, output_compression: quality } = output;
  const parameters = pngParameters(image, result.settings, model.name);
  return encodeImage(image.rgb, format, { quality, parameters });
}

/** The answer of OpenAI's API. @param base address of this server */
export async function imagesAnswer(
  generation: GenerationResult,
  output: Output & { readonly response_format: 'url' | 'b64_json' },
  { stored, base, key }: { readonly stored: StoredImages; readonly base: string; readonly key: string },
): Promise<ImagesAnswer> {
  const { result, model, images } = generation;
  const { settings } = result;
  const data = await Promise.all(
    images.map(async (image) => {
      const file = await fileOf(image, generation, output);
      const content =
        output.response_format === 'url'
          ? { url: `${base}/files/${stored.put(key, { bytes: file, type: typeOf(output.output_format) })}` }
          : { b64_json: file.toString('base64') };
      return { ...content, seed: jsonSeed(image.seed), srds: srdsOf(image, settings) };
    }),
  );
  return {
    created: now(),
    model: model.name,
    data,
    ...aboutImages(output, settings),
    usage: usageOf(generation),
    ...warningsOf(generation),
  };
}

/** The warnings; the field is absent if there are none. */
export function warningsOf({ warnings }: GenerationResult): { readonly warnings?: string[] } {
  return warnings.length > 0 ? { warnings: [...warnings] } : {};
}

export function usageOf({ result, model, images }: GenerationResult): Usage {
  const text = tokensOf(model, result.settings.prompt);
  const output = images.reduce((sum, { evaluations }) => sum + evaluations.total, 0);
  return {
    input_tokens: text,
    input_tokens_details: { text_tokens: text, image_tokens: 0 },
    output_tokens: output,
    total_tokens: text + output,
  };
}

/** The number of a prompt's tokens, without the start token and the padding. */
function tokensOf({ textEncoders }: ModelFolder, prompt: string): number {
  const [first] = textEncoders;
  if (!first) return 0;
  const { ids } = first.tokenizer.encode(prompt, first.tokenizer.maxLength);
  const padding = ids[ids.length - 1];
  return Math.max(
    0,
    ids.findLastIndex((id) => id !== padding),
  );
}

/** The media type of a format. */
function typeOf(format: ImageFormat): string {
  return `image/${format}`;
}

/** Seconds since 1970. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}
