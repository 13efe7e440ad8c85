import { signal } from '@preact/signals';
import type { Parameters } from './parameters.js';

/** An image that was drawn in this browser. */
export interface Entry {
  readonly id: string;
  readonly at: number;
  /** With the seed that was drawn. */
  readonly parameters: Parameters;
  /** A small picture, as an address with its content. */
  readonly thumbnail: string;
}

const PLACE = 'srds.history';
const MOST = 24;
const THUMBNAIL = 96;

export const history = signal<readonly Entry[]>(read());

// Another tab may have drawn.
addEventListener('storage', ({ key }) => {
  if (key === PLACE) history.value = read();
});

/** @param image its address */
export async function remember(parameters: Parameters, image: string): Promise<void> {
  const thumbnail = await shrunk(image);
  const entry: Entry = { id: crypto.randomUUID(), at: Date.now(), parameters, thumbnail };
  write([entry, ...read()].slice(0, MOST));
}

export function forget(): void {
  write([]);
}

function write(entries: readonly Entry[]): void {
  history.value = entries;
  try {
    localStorage.setItem(PLACE, JSON.stringify(entries));
  } catch {
    // A browser that keeps nothing, or has no room, still draws.
  }
}

function read(): readonly Entry[] {
  try {
    const entries: unknown = JSON.parse(localStorage.getItem(PLACE) ?? '[]');
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
