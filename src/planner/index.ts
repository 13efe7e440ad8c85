export { latency, parseCurve, rowsNotWorthSplitting, rowsThatPay, type LatencyCurve } from './curve.js';
export { expectedIterations, expectedPasses } from './convergence.js';
export { mayBeChosen, nameOf, plan, type Candidate, type Plan, type PlanRequest } from './plan.js';
export type { Choice } from './selectSampler.js';
