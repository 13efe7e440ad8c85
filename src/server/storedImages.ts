import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** A file that clients can fetch for a while. */
export interface StoredImage {
  readonly bytes: Buffer;
  readonly type: string;
}

const TTL_MS = 60 * 60 * 1000;

/** Images in memory for requests with `response_format: url`. Each lasts an hour, or less when the size limit is reached. */
export class StoredImages {
  private readonly images: LRUCache<string, StoredImage>;

  constructor(maxBytes: number) {
    this.images = new LRUCache({ maxSize: maxBytes, sizeCalculation: ({ bytes }) => bytes.length, ttl: TTL_MS });
  }

  /** @returns the image's name, which cannot be guessed */
  put(image: StoredImage): string {
    const name = randomUUID();
    this.images.set(name, image);
    return name;
  }

  get(name: string): StoredImage | undefined {
    return this.images.get(name);
  }
}
