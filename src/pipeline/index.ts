export { Pipeline, type OpenOptions, type PipelineOptions } from './pipeline.js';
export type { GeneratedImage, GenerateEvent, GenerateResult, ImageEvaluations, Seconds } from './result.js';
export { settingsOf, SAMPLERS, SOLVERS, type GenerateOptions, type SamplerName, type Settings } from './options.js';
export type { Choice } from './selectSampler.js';
export { pngParameters } from './pngParameters.js';
export { parseTrace, TraceRecorder, type Trace } from './trace.js';
