import { parseInfotext } from '../../image/infotext.js';
import { imageTexts } from '../../image/imageTexts.js';
import type { z } from 'zod';
import { fileFrom } from './inputs.js';
import type { pngInfoAnswer } from './schemas.js';

/** Characters of a text that parameters are read from. */
const MAX_INFO = 2 ** 18;

/** The generation parameters that an image carries. @param image base64 @throws ApiError 400 if it is no image */
export async function pngInfo(image: string): Promise<z.output<typeof pngInfoAnswer>> {
  const items = await imageTexts(fileFrom(image, 'image'));
  const info = items.get('parameters') ?? '';
  const { prompt, negativePrompt, parameters } = parseInfotext(info.slice(0, MAX_INFO));
  const read = info === '' ? {} : { Prompt: prompt, 'Negative prompt': negativePrompt };
  return { info, items: Object.fromEntries(items), parameters: { ...read, ...Object.fromEntries(parameters) } };
}
