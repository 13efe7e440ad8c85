import type { RgbImage } from '../image/image.js';
import type { CurrentImages } from '../pipeline/currentImages.js';
import type { GeneratedImage } from '../pipeline/result.js';

/** An image with its pixels. */
export type CompleteImage = GeneratedImage & { readonly rgb: RgbImage };

/** Ends a run early and keeps its images so far. */
export class Interruption {
  private readonly controller = new AbortController();
  private readonly kept = new Map<number, RgbImage>();

  /** @param count the number of images */
  constructor(
    private readonly current: CurrentImages,
    private readonly count: number,
  ) {}

  /** Aborted when the run shall end. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  async interrupt(): Promise<void> {
    // An aborted run decodes nothing more.
    const shown = await Promise.all(Array.from({ length: this.count }, (_, image) => this.current.show(image)));
    shown.forEach((rgb, image) => rgb && this.kept.set(image, rgb));
    this.controller.abort();
  }

  /** The images of a run that have pixels, the kept ones where it was interrupted. */
  complete(images: readonly GeneratedImage[]): CompleteImage[] {
    return images.flatMap((image, index) => {
      const rgb = image.rgb ?? this.kept.get(index);
      return rgb ? [{ ...image, rgb }] : [];
    });
  }
}
