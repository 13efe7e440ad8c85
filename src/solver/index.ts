export {
  isMultistep,
  oneEvaluationSolver,
  oneStepSolver,
  serialEvaluations,
  stepGenerator,
  type AnySolver,
  type MultistepSolver,
  type Past,
  type Query,
  type Solver,
  type StepGenerator,
} from './solver.js';
export { ddim, ddimEta } from './ddim.js';
export { ddpm } from './ddpm.js';
export { euler } from './euler.js';
export { heun } from './heun.js';
export { dpm1 } from './dpm1.js';
export { dpm2s } from './dpm2s.js';
export { dpm2m, type Dpm2mOptions } from './dpm2m.js';
export { pndm } from './pndm.js';
export { masked, type Mask } from './masked.js';
export {
  addsNoise,
  FLOW_SOLVERS,
  schedulerOf,
  solverOf,
  SOLVERS,
  type SolverName,
  type SolverOptions,
} from './registry.js';
export { bounded, toPrediction, type Combination, type Prediction } from './prediction.js';
export { flowSigma, fromVelocity, networkSample, toFlow } from './flow.js';
