export { BUNDLED_MODEL, readModelFolder, type ModelFolder, type TextEncoder } from './modelFolder.js';
export type { DescribedGraph, FixedSize } from './fixedShapes.js';
export { isDenoiser, type DenoiserName, type GraphName, type TextEncoderName } from './graphNames.js';
export type {
  ConditioningContext,
  DescribedModel,
  EncodedPrompt,
  ImageSize,
  Level,
  ModelDefaults,
  ModelFamily,
  ModelIndex,
  NetworkFacts,
  SequenceLength,
  TextEncoderPart,
} from './family.js';
export type { LatentLayout } from './latentLayout.js';
export type { LatentScale } from './latentScale.js';
export type { SchedulerFile, ScheduleOptions } from './scheduler.js';
export { parseScheduleConfig, type ParseScheduleOptions } from './scheduleConfig.js';
export { Networks, type TimestepBatching } from './networks.js';
export { encodePrompt, type EncodeOptions, type Prompt } from './encodePrompt.js';
export type { Conditioning, EncodedText } from './conditioning.js';
export { readTokenizer, type ClipTokenizer, type Tokens } from './tokenizer.js';
export { readT5Tokenizer, type T5Tokenizer } from './t5Tokenizer.js';
export { inspectModel, type Inspection } from './inspect.js';
export { openModel, type OpenModelOptions } from './openModel.js';
export { guide, rescaleGuidance } from './guidance.js';
export { networkDenoiser, type NetworkDenoiserOptions } from './networkDenoiser.js';
export { activationMemory, promptMemory, type ActivationMemory } from './activationMemory.js';
