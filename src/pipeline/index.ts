export { Activity } from './activity.js';
export type { OpenOptions } from './openOptions.js';
export { Pipeline, type PipelineOptions } from './pipeline.js';
export type {
  GeneratedImage,
  GenerateEvent,
  GenerateForecast,
  GenerateResult,
  ImageEvaluations,
  Phase,
  Seconds,
} from './result.js';
export { settingsOf, type GenerateOptions, type Settings } from './options.js';
export { GENERATION_OPTIONS, SAMPLERS, type GenerationValues, type SamplerName } from './options/generation.js';
export {
  defaultsOf,
  option,
  type Control,
  type DefaultsOf,
  type InfotextForm,
  type HelpGroup,
  type Option,
  type Options,
  type OptionValues,
  type SnakeCase,
} from './options/option.js';
export { flagsOf, type Flag } from './options/flags.js';
export { mergeSources, settingsFromEnvironment, settingsFromFile, type Source } from './options/sources.js';
export { bodyOf, valuesFromBody, type BodyLimits, type BodyShape } from './options/body.js';
export { infotextOf, valuesFromInfotext } from './options/infotext.js';
export { formOf, type FormChoice, type FormControl, type FormLimits } from './options/form.js';
export type { Choice } from './selectSampler.js';
export { CurrentImages } from './currentImages.js';
export { pngParameters } from './pngParameters.js';
export { parseTrace, TraceRecorder, type Trace } from './trace.js';
export { rowsInMemory, type MemoryNeed } from './memoryGuard.js';
