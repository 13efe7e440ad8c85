import exifReader from 'exifreader';
import { pngTexts } from './pngTexts.js';

/** The code of comments in UTF-16. */
const UNICODE = 'UNICODE\0';
/** Bytes of a JPEG file that have its EXIF data, and those that begin the file. Its markers are read one by one, however many there are. */
const MAX_JPEG_HEAD = 2 ** 18;
const JPEG_START = [0xff, 0xd8];

/**
 * The texts of an image file by the keywords that PNG files have for them: those of PNG chunks, and those that programs write into the
 * EXIF data of JPEG and WebP files, which have no keywords. None if the file has none. It runs in browsers too.
 * Sources: AUTOMATIC1111 stable-diffusion-webui, images.py: `parameters` as the comment; ComfyUI: `prompt:` before the workflow, as the
 * model of the camera.
 */
export async function imageTexts(bytes: Uint8Array): Promise<ReadonlyMap<string, string>> {
  const texts = await pngTexts(bytes);
  if (texts) return texts;
  const { comment, model } = exifOf(bytes);
  return new Map([
    ...(comment === undefined ? [] : [['parameters', comment] as const]),
    ...(model?.startsWith('prompt:') ? [['prompt', model.slice('prompt:'.length)] as const] : []),
  ]);
}

function exifOf(bytes: Uint8Array): { readonly comment?: string | undefined; readonly model?: string | undefined } {
  try {
    const isJpeg = JPEG_START.every((byte, k) => bytes[k] === byte);
    const { exif } = exifReader.load(new Uint8Array(isJpeg ? bytes.subarray(0, MAX_JPEG_HEAD) : bytes).buffer, {
      expanded: true,
      includeTags: { exif: ['UserComment', 'Model'] },
    });
    // The types of the library say nothing of comments; it has them as bytes.
    const comment = exif?.UserComment as { readonly value: readonly number[] } | undefined;
    return { comment: comment && commentOf(comment.value), model: exif?.Model?.description };
  } catch {
    // The file has no metadata that can be read.
    return {};
  }
}

/**
 * The text of a comment. Web UIs write the larger byte of a character first, whatever the file does; others write the smaller one first.
 * Source: Exif 2.3, 4.6.5, UserComment: eight bytes that name the code, then the text.
 */
function commentOf(value: readonly number[]): string | undefined {
  const bytes = Uint8Array.from(value);
  const code = String.fromCharCode(...bytes.subarray(0, UNICODE.length));
  const text = bytes.subarray(UNICODE.length);
  const encoding = code !== UNICODE ? 'utf-8' : isLittleEndian(text) ? 'utf-16le' : 'utf-16be';
  return new TextDecoder(encoding).decode(text).replace(/\0+$/, '') || undefined;
}

/** Whether UTF-16 text is little endian. Most characters are ASCII, whose high byte is 0; in little endian it comes second. */
function isLittleEndian(text: Uint8Array): boolean {
  const zeros = [0, 0];
  for (const [at, byte] of text.entries()) if (byte === 0) zeros[at % 2]++;
  return zeros[1] > zeros[0];
}
