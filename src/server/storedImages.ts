import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** A file that clients can fetch for a while. */
export interface StoredImage {
  readonly bytes: Buffer;
  readonly type: string;
}

const TTL_MS = 60 * 60 * 1000;

/**
 * Images in memory for requests with `response_format: url`. Each lasts an hour, or less where memory is short: then the key with the
 * most bytes loses its oldest ones, so that no key drives out the images of others.
 */
export class StoredImages {
  /** The images of each key, by name. */
  private readonly byKey = new Map<string, LRUCache<string, StoredImage>>();

  constructor(
    private readonly maxBytes: number,
    private readonly ttlMs = TTL_MS,
  ) {}

  /** @param key of the client @returns the image's name, which cannot be guessed */
  put(key: string, image: StoredImage): string {
    const name = randomUUID();
    const images = this.byKey.get(key) ?? this.add(key);
    images.set(name, image);
    while (this.bytes > this.maxBytes) this.largest.pop();
    return name;
  }

  get(name: string): StoredImage | undefined {
    for (const images of this.byKey.values()) {
      const found = images.get(name);
      if (found) return found;
    }
    return undefined;
  }

  /** Bytes in memory. */
  get bytes(): number {
    return [...this.byKey.values()].reduce((sum, { calculatedSize }) => sum + calculatedSize, 0);
  }

  private get largest(): LRUCache<string, StoredImage> {
    return [...this.byKey.values()].reduce((a, b) => (b.calculatedSize > a.calculatedSize ? b : a));
  }

  private add(key: string): LRUCache<string, StoredImage> {
    const images: LRUCache<string, StoredImage> = new LRUCache({
      maxSize: this.maxBytes,
      sizeCalculation: ({ bytes }) => bytes.length,
      ttl: this.ttlMs,
      // Expired images leave memory by themselves.
      ttlAutopurge: true,
    });
    this.byKey.set(key, images);
    return images;
  }
}
