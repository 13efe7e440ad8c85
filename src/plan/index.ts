export { boundaries, checkPartition, defaultBlocks, evenPartition, type Partition } from './partition.js';
export { criticalPath, iterationsToExact } from './criticalPath.js';
export { latency, parseCurve, rowsThatPay, type LatencyCurve } from './curve.js';
export { simulatePasses, simulateSerial, simulateSrds, type Forecast, type Machine } from './simulate.js';
export { expectedIterations, expectedPasses } from './convergence.js';
export { plan, type Candidate, type Plan, type PlanRequest } from './plan.js';
