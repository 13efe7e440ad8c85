import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import type { GalleryImage, SourceImage } from './records.js';

interface Schema extends DBSchema {
  /** Finished images by their ids. */
  images: { key: string; value: GalleryImage; indexes: { at: number } };
  /** The initial image of the form, under the key `current`. */
  source: { key: string; value: SourceImage };
}

let opened: Promise<IDBPDatabase<Schema>> | undefined;

/** The database of this page in the browser. @throws DOMException where the browser keeps none, as some private windows do */
export function storage(): Promise<IDBPDatabase<Schema>> {
  opened ??= openDB<Schema>('srds', 1, {
    upgrade: (database) => {
      database.createObjectStore('images', { keyPath: 'id' }).createIndex('at', 'at');
      database.createObjectStore('source');
    },
  });
  return opened;
}

/** A JSON value that this browser keeps, or `otherwise`. @param area which throws where site data is blocked */
export function kept(area: () => Storage, name: string, otherwise: unknown): unknown {
  try {
    return JSON.parse(area().getItem(name) ?? '') as unknown;
  } catch {
    return otherwise;
  }
}

/** Keeps a JSON value in this browser, if it has room. */
export function keep(area: () => Storage, name: string, value: unknown): void {
  try {
    area().setItem(name, JSON.stringify(value));
  } catch {
    // Storage may be disabled or full; the value then lasts as long as the page.
  }
}
