import { signal } from '@preact/signals';
import type { GalleryImage } from './records.js';
import { randomId } from './randomId.js';
import { storage } from './storage.js';

/** More are forgotten, the oldest first. */
const MAX_IMAGES = 300;
/** Pixels of the longer side, twice what is shown. */
const THUMBNAIL = 288;

/** The images that this browser keeps, the newest first. */
export const gallery = signal<readonly GalleryImage[]>([]);

/** Tells other tabs of changes. */
const channel = new BroadcastChannel('srds.gallery');
channel.onmessage = () => void readGallery();

/** Reads what the browser has kept. */
export async function readGallery(): Promise<void> {
  const all = await storage().then(
    (database) => database.getAllFromIndex('images', 'at'),
    () => undefined,
  );
  if (all) gallery.value = all.reverse();
}

/** Adds a finished image. Without storage it lasts as long as the page. */
export async function addToGallery(
  image: Pick<GalleryImage, 'parameters' | 'file' | 'seconds'> & { readonly id?: string },
): Promise<GalleryImage> {
  const entry = { id: randomId(), at: Date.now(), ...image, ...(await shrunk(image.file)) };
  await put(entry);
  return entry;
}

/** Puts back an image that was deleted. */
export async function put(entry: GalleryImage): Promise<void> {
  const withEntry = () => [...gallery.value, entry].sort((a, b) => b.at - a.at);
  await change(async (database) => {
    await database.put('images', entry);
    for (const { id } of withEntry().slice(MAX_IMAGES)) await database.delete('images', id);
  });
  gallery.value = withEntry().slice(0, MAX_IMAGES);
}

export async function removeFromGallery(id: string): Promise<void> {
  await change((database) => database.delete('images', id));
  gallery.value = gallery.value.filter((entry) => entry.id !== id);
}

export async function clearGallery(): Promise<void> {
  await change((database) => database.clear('images'));
  gallery.value = [];
}

/** Changes what the browser keeps, before it is shown. */
async function change(work: (database: Awaited<ReturnType<typeof storage>>) => Promise<unknown>): Promise<void> {
  try {
    await work(await storage());
    channel.postMessage('changed');
  } catch {
    // Storage may be disabled or full; the images then last as long as the page.
  }
}

async function shrunk(file: Blob): Promise<Pick<GalleryImage, 'thumbnail' | 'width' | 'height'>> {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const scale = Math.min(1, THUMBNAIL / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return { thumbnail: await canvas.convertToBlob({ type: 'image/webp', quality: 0.85 }), width, height };
}
