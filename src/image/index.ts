export { readImage, toRgb, type GreyImage, type RgbImage } from './image.js';
export type { MaskImage } from './mask.js';
export { encodePng } from './png.js';
export { infotext, type Parameters } from './infotext.js';
