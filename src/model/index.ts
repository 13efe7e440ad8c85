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
export { parseScheduleConfig, type ParseScheduleOptions } from './scheduleConfig.js';
export { Networks, type TimestepBatching } from './networks.js';
export { condition, zeroed, type Conditioning } from './conditioning.js';
export { readTokenizer, type ClipTokenizer, type Tokens } from './tokenizer.js';
export { inspectModel, type Inspection } from './inspect.js';
export { openModel, type HubProgress, type OpenModelOptions } from './openModel.js';
export { guide, rescaleGuidance } from './guidance.js';
export { engineDenoiser, type EngineDenoiserOptions } from './networkDenoiser.js';
