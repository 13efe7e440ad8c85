export {
  boundaries,
  checkPartition,
  defaultPartition,
  evenPartition,
  rampedPartition,
  type Partition,
} from './partition.js';
export { criticalPath, iterationsToExact } from './criticalPath.js';
export { latency, parseCurve, rowsNotWorthSplitting, rowsThatPay, type LatencyCurve } from './curve.js';
export { simulatePasses, simulateSerial, simulateSrds, type Forecast, type Machine } from './simulate.js';
export { expectedIterations, expectedPasses } from './convergence.js';
export { mayBeChosen, nameOf, plan, type Candidate, type Plan, type PlanRequest } from './plan.js';
