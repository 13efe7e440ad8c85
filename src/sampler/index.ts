export { Run } from './run.js';
export { serial, type SerialOptions } from './serial.js';
export { srds, type SrdsOptions } from './srds.js';
export { correct, type Correction, type CorrectionInput, type Solves } from './corrections.js';
export type { EvaluationCount, EvaluationEvent, IterationEvent, SampleResult, SamplerEvent, Status } from './events.js';
