export { readImage, toRgb, type RgbImage } from './image.js';
export { encodePng } from './png.js';
export { infotext, type Parameters } from './infotext.js';
