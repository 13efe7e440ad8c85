import { signal } from '@preact/signals';
import type { Parameters } from './parameters.js';

/** An image that this browser generated. */
export interface Entry {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The parameters, with the seed that was used. */
  readonly parameters: Parameters;
  /** A small image as a data URL. */
  readonly thumbnail: string;
}

const STORAGE_KEY = 'srds.history';
const MAX_ENTRIES = 24;
/** Pixels of the longer side. */
const THUMBNAIL = 96;

export const history = signal<readonly Entry[]>(read());

// Follows the changes of other tabs.
addEventListener('storage', ({ key }) => {
  if (key === STORAGE_KEY) history.value = read();
});

/** Adds an image to the history. @param image its URL */
export async function remember(parameters: Parameters, image: string): Promise<void> {
  const thumbnail = await shrunk(image);
  const entry: Entry = { id: crypto.randomUUID(), at: Date.now(), parameters, thumbnail };
  write([entry, ...read()].slice(0, MAX_ENTRIES));
}

export function forget(): void {
  write([]);
}

function write(entries: readonly Entry[]): void {
  history.value = entries;
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(entries));
  } catch {
    // Storage may be disabled or full; the history then lasts as long as the page.
  }
}

function read(): readonly Entry[] {
  try {
    const entries: unknown = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? '[]');
    return Array.isArray(entries) ? (entries as Entry[]) : [];
  } catch {
    return [];
  }
}

async function shrunk(image: string): Promise<string> {
  const picture = new Image();
  picture.src = image;
  await picture.decode();
  const canvas = document.createElement('canvas');
  const scale = THUMBNAIL / Math.max(picture.naturalWidth, picture.naturalHeight);
  canvas.width = Math.round(picture.naturalWidth * scale);
  canvas.height = Math.round(picture.naturalHeight * scale);
  canvas.getContext('2d')?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/webp', 0.8);
}
