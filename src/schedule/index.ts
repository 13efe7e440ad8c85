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
export { fineGrid, noiseSchedule, type NoiseLevel, type NoiseSchedule, type SolverStep } from './grid.js';
export { span } from './span.js';
export { combineNoise, withNoise } from './noise.js';
export {
  dynamicShift,
  flowGrid,
  flowSchedule,
  flowShift,
  flowSigmas,
  type DynamicShift,
  type FlowConfig,
  type FlowSchedule,
} from './flow.js';
export { finalScale, initialNoiseScale, stepsOf, type Schedule } from './schedule.js';
