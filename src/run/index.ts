export { Run } from './run.js';
export type { DenoiseRequest, Denoiser } from './denoiser.js';
export type {
  EvaluationCount,
  EvaluationEvent,
  IterationEvent,
  Residual,
  SampleResult,
  SamplerEvent,
  Status,
} from './events.js';
export { criticalPath, iterationsToExact } from './criticalPath.js';
export { simulatePasses, simulateSerial, simulateSrds, type Forecast, type Machine } from './simulate.js';
