export {
  PREDICTIONS,
  scheduleConfig,
  SCHEDULERS,
  sigmaScheduler,
  SPACINGS,
  type Bound,
  type PredictionType,
  type ScheduleConfig,
  type Scheduler,
  type TimestepSpacing,
} from './config.js';
export { alphasCumprod, betas } from './betas.js';
export { timesteps } from './timesteps.js';
export { sigmaGrid, type SigmaGrid } from './sigmas.js';
export {
  finalScale,
  fineGrid,
  initialNoiseScale,
  noiseSchedule,
  type NoiseLevel,
  type NoiseSchedule,
  type SolverStep,
} from './grid.js';
export { span } from './span.js';
export { combineNoise, withNoise } from './noise.js';
export { flowGrid, flowShift, flowSigmas, type FlowSchedule } from './flow.js';
