export {
  isShared,
  type Batch,
  type BatchResult,
  type ConditioningId,
  type Engine,
  type Evaluation,
  type Fused,
  type GraphFile,
  type GraphInfo,
  type Precision,
  type Rewrite,
  type Sums,
  type TensorInfo,
} from './engine.js';
export { Batcher, type BatchReport, type Priority, type Requester, type Wish } from './batcher.js';
export { findDevices, probe, type Probe } from './local/probe.js';
export type { Problem } from './local/remedies.js';
export { describeGraph, type GraphDescription } from '../onnx/describe.js';
export { LocalEngine, DEFAULT_LANES, type LocalEngineOptions } from './local/localEngine.js';
export { CPU, deviceName, parseDevices, type Device, type DeviceKind } from './device.js';
