export { drive, type DriveOptions } from './drive.js';
export { Run } from './run.js';
export type { DenoiseRequest, Denoiser } from './denoiser.js';
export type { EvaluationCount, EvaluationEvent, IterationEvent, SampleResult, SamplerEvent, Status } from './events.js';
export { lastChange, nextChange, type Residual } from './residual.js';
export { criticalPath, simulate, simulation, type Forecast, type Hardware, type HostCost } from './simulate.js';
export { nextBatch, type ClientQueue, type EngineCapacity, type PendingEvaluation } from './nextBatch.js';
export { finish, finishInTurns, type Steps } from './steps.js';
