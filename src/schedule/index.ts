export { parseScheduleConfig, type PredictionType, type ScheduleConfig, type TimestepSpacing } from './config.js';
export { alphasCumprod, betas } from './betas.js';
export { timesteps } from './timesteps.js';
export { fineGrid, span, type NoiseLevel, type SolverStep } from './grid.js';
