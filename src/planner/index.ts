export { latency, parseCurve, rowsNotWorthSplitting, rowsThatPay, type LatencyCurve } from './curve.js';
export { expectedIterations, expectedPasses } from './convergence.js';
export {
  forecastPicard,
  forecastSerial,
  forecastSrds,
  simulateSrds,
  type Machine,
  type StoppingRule,
  type TrajectorySize,
} from './forecast.js';
export { mayBeChosen, nameOf, plan, type Candidate, type Plan, type PlanRequest } from './plan.js';
