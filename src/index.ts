/** The exports that most programs need. The subpaths (`srds/sampler`, `srds/schedule`, ...) have the complete modules. */
export { SrdsError, type ErrorCode } from './errors.js';
export type { Denoiser } from './run/denoiser.js';
export { scheduleConfig } from './schedule/config.js';
export { fineGrid } from './schedule/grid.js';
export { ddim } from './solver/ddim.js';
export { Generator } from './random/generator.js';
export { drive, type DriveOptions } from './run/drive.js';
export { Run } from './run/run.js';
export { serial, type SerialOptions } from './sampler/serial.js';
export { srds, type SrdsOptions } from './sampler/srds.js';
export type { SampleResult, SamplerEvent, Status } from './run/events.js';
export { Pipeline } from './pipeline/pipeline.js';
export type { GeneratedImage, GenerateEvent, GenerateResult } from './pipeline/result.js';
export type { GenerateOptions } from './pipeline/options.js';
export { readImage } from './image/image.js';
export { encodePng } from './image/png.js';
