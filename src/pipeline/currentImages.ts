import type { RgbImage } from '../image/image.js';

/** The images of a run so far, which are decoded only when somebody wants to see them. */
export class CurrentImages {
  private readonly decoders = new Map<number, () => Promise<RgbImage>>();

  /** Called by the run. @param image the index of the image @param decode decodes its newest state */
  update(image: number, decode: () => Promise<RgbImage>): void {
    this.decoders.set(image, decode);
  }

  /** The newest state of an image; undefined if there is none yet. @param image the index of the image */
  async show(image: number): Promise<RgbImage | undefined> {
    return this.decoders
      .get(image)?.()
      .catch(() => undefined);
  }
}
