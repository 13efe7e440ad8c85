export {
  Pipeline,
  type GeneratedImage,
  type GenerateEvent,
  type GenerateResult,
  type ImageEvaluations,
  type OpenOptions,
  type Seconds,
} from './pipeline.js';
export { settingsOf, type GenerateOptions, type SamplerName, type Settings } from './options.js';
export { BUNDLED_MODEL, readModelFolder, type GraphName, type ModelFolder } from './modelFolder.js';
export { readTokenizer, type ClipTokenizer, type Tokens } from './tokenizer.js';
export { toRgb, type RgbImage } from './image.js';
export { encodePng } from './png.js';
export { infotext, type Parameters } from './parameters.js';
