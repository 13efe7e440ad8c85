import { signal } from '@preact/signals';
import { base64Of } from './files.js';
import type { SourceImage } from './records.js';
import { storage } from './storage.js';

const KEY = 'current';

/** The initial image; undefined: images are drawn from noise. */
export const source = signal<SourceImage | undefined>(undefined);

/** Reads the initial image that the browser has kept. */
export async function readSource(): Promise<void> {
  source.value = await storage().then(
    (database) => database.get('source', KEY),
    () => undefined,
  );
}

/** Takes a file as initial image. @throws DOMException if the browser cannot read it as an image */
export async function takeSource(file: Blob): Promise<void> {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  // Other formats than the server takes become one that it does.
  const isKnown = ['image/png', 'image/jpeg', 'image/webp'].includes(file.type);
  const taken = isKnown ? file : await pngOf(bitmap);
  bitmap.close();
  setSource({ file: taken, width, height, mask: undefined });
}

/** Replaces the initial image or its mask. */
export function setSource(next: SourceImage | undefined): void {
  source.value = next;
  storage()
    .then(async (database) => {
      if (next) await database.put('source', next, KEY);
      else await database.delete('source', KEY);
    })
    // Without storage it lasts as long as the page.
    .catch(() => undefined);
}

/** The fields of a request for an initial image. */
export async function sourceFields(given: SourceImage): Promise<object> {
  const { file, mask } = given;
  return { image: await base64Of(file), ...(mask && { mask: await base64Of(mask) }) };
}

function pngOf(bitmap: ImageBitmap): Promise<Blob> {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}
