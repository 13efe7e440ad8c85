export { Pipeline, type OpenOptions, type PipelineOptions } from './pipeline.js';
export type { GeneratedImage, GenerateEvent, GenerateResult, ImageEvaluations, Seconds } from './result.js';
export { settingsOf, SOLVERS, type GenerateOptions, type SamplerName, type Settings } from './options.js';
export {
  BUNDLED_MODEL,
  readModelFolder,
  type GraphName,
  type ModelFolder,
  type TextEncoder,
  type TextEncoderName,
} from './modelFolder.js';
export type { LatentScale } from './latentScale.js';
export type { SchedulerFile } from './scheduler.js';
export { Networks, type TimestepBatching } from './network.js';
export { condition, zeroed, type Conditioning } from './conditioning.js';
export { readTokenizer, type ClipTokenizer, type Tokens } from './tokenizer.js';
export { readImage, toRgb, type RgbImage } from './image.js';
export { encodePng } from './png.js';
export { pngParameters } from './pngParameters.js';
export { infotext, type Parameters } from './parameters.js';
export {
  benchmark,
  BatchWatch,
  CONTESTANTS,
  noiseFloor,
  promptOf,
  type BenchmarkOptions,
  type Contestant,
  type Measurement,
  type NoiseFloor,
} from './benchmark.js';
export { summarize, summaryTable, markdown, type Summary } from './summary.js';
export { parseTrace, TraceRecorder, type Trace } from './trace.js';
export type { Choice } from './choose.js';
export { SAMPLERS } from './options.js';
export { inspectModel, type Inspection } from './inspect.js';
export { openModel, type HubProgress, type OpenModelOptions } from './openModel.js';
