import type { Parameters } from './parameters.js';

/** A finished image. */
export interface GalleryImage {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The parameters, with the seed and the sampler that were used. */
  readonly parameters: Parameters;
  /** The PNG file, which has the parameters too. */
  readonly file: Blob;
  /** A small WebP file. */
  readonly thumbnail: Blob;
  readonly width: number;
  readonly height: number;
  /** Seconds that drawing took, of all images of the request together. */
  readonly seconds: number;
}

/** An initial image for image to image. */
export interface SourceImage {
  readonly file: Blob;
  readonly width: number;
  readonly height: number;
  /** A PNG of the same size whose transparent pixels are repainted; undefined: all are. */
  readonly mask: Blob | undefined;
}
