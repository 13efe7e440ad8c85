export { latency, parseCurve, rowsNotWorthSplitting, rowsThatPay, sharesRows, type LatencyCurve } from './curve.js';
export {
  basisOf,
  expectedIterations,
  expectedPasses,
  withRuns,
  BUNDLED_CONVERGENCE,
  UNKNOWN_CONVERGENCE,
  type Convergence,
  type ConvergenceRecord,
  type GuidanceScales,
} from './convergence.js';
export {
  forecastPicard,
  forecastSerial,
  forecastSrds,
  simulateSrds,
  type SrdsForecast,
  type Machine,
  type StoppingRule,
  type TrajectorySize,
} from './forecast.js';
export { measureCurve, type MeasuredDevices, type MeasureOptions } from './measure.js';
export { curveOf, type Measurements } from './measurements.js';
export {
  cannotGain,
  mayBeChosen,
  nameOf,
  plan,
  planning,
  type Candidate,
  type Plan,
  type PlanRequest,
} from './plan.js';
export { withRunTimes, withSerialTimes, type SerialTimes, type TimedBatch, type TimedRun } from './runTimes.js';
