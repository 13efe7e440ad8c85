import { pngTexts } from '../../src/image/pngTexts.js';

/** The `parameters` text of a PNG file; undefined if the file is no PNG or has no such text. */
export function parametersIn(file: ArrayBuffer): string | undefined {
  return pngTexts(new Uint8Array(file)).get('parameters');
}
