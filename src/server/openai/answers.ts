import { encodeImage, type ImageFormat } from '../../image/encode.js';
import { pngParameters } from '../../pipeline/pngParameters.js';
import type { ModelFolder } from '../../model/modelFolder.js';
import type { Settings } from '../../pipeline/options.js';
import type { GenerationResult } from '../generate.js';
import type { StoredImages } from '../storedImages.js';
import type { GenerationRequest, ImagesAnswer, Usage } from './schemas.js';

type Wanted = Pick<GenerationRequest, 'output_format' | 'output_compression' | 'response_format'>;

/** JSON's numbers lose digits beyond 2^53. */
export function jsonSeed(seed: bigint): number | string {
  const number = Number(seed);
  return Number.isSafeInteger(number) ? number : String(seed);
}

/** How an image came about. */
export function srdsOf(
  { status, iterations, residuals, evaluations }: GenerationResult['images'][number],
  { sampler }: Settings,
) {
  return { status, sampler, iterations, residuals: [...residuals], evaluations };
}

export function aboutImages({ output_format }: Wanted, { width, height }: { width: number; height: number }) {
  return { background: 'opaque', output_format, quality: 'auto', size: `${width}x${height}` } as const;
}

/** An image as a file, with how it was made where the format has a place for it. */
export async function fileOf(
  image: GenerationResult['images'][number],
  { result, model }: GenerationResult,
  wanted: Wanted,
): Promise<Buffer> {
  const { output_format: format, output_compression: quality } = wanted;
  const parameters = pngParameters(image, result.settings, model.name);
  return encodeImage(image.rgb, format, { quality, parameters });
}

/** Images as OpenAI's clients read them. @param base address of this server */
export async function imagesAnswer(
  drawn: GenerationResult,
  wanted: Wanted,
  { stored, base }: { readonly stored: StoredImages; readonly base: string },
): Promise<ImagesAnswer> {
  const { result, model, images } = drawn;
  const { settings } = result;
  const data = await Promise.all(
    images.map(async (image) => {
      const file = await fileOf(image, drawn, wanted);
      const where =
        wanted.response_format === 'url'
          ? { url: `${base}/files/${stored.put({ bytes: file, type: typeOf(wanted.output_format) })}` }
          : { b64_json: file.toString('base64') };
      return { ...where, seed: jsonSeed(image.seed), srds: srdsOf(image, settings) };
    }),
  );
  return {
    created: now(),
    model: model.name,
    data,
    ...aboutImages(wanted, settings),
    usage: usageOf(drawn),
    ...warningsOf(drawn),
  };
}

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

/** Words of a prompt as the text encoder counts them: what is neither the start nor the padding. */
function tokensOf({ textEncoders }: ModelFolder, prompt: string): number {
  const { ids } = textEncoders[0].tokenizer.encode(prompt);
  const padding = ids[ids.length - 1];
  return Math.max(
    0,
    ids.findLastIndex((id) => id !== padding),
  );
}

export function typeOf(format: ImageFormat): string {
  return `image/${format}`;
}

/** In seconds since 1970. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}
