import { randomUUID } from 'node:crypto';

/** A file that can be fetched for a while. */
export interface StoredImage {
  readonly bytes: Buffer;
  readonly type: string;
}

const KEPT_MS = 60 * 60 * 1000;

/** Images in memory for those who asked for addresses instead of content: for an hour, the oldest going first where it is full. */
export class StoredImages {
  private readonly images = new Map<string, StoredImage & { readonly until: number }>();
  private size = 0;

  constructor(private readonly maxBytes: number) {}

  /** @returns the name under which it is found; it cannot be guessed */
  put(image: StoredImage): string {
    const name = randomUUID();
    this.images.set(name, { ...image, until: Date.now() + KEPT_MS });
    this.size += image.bytes.length;
    for (const [old, { bytes, until }] of this.images) {
      if (old === name || (this.size <= this.maxBytes && until > Date.now())) break;
      this.images.delete(old);
      this.size -= bytes.length;
    }
    return name;
  }

  get(name: string): StoredImage | undefined {
    const image = this.images.get(name);
    return image && image.until > Date.now() ? image : undefined;
  }
}
