export {
  isShared,
  type Batch,
  type BatchResult,
  type ConditioningId,
  type Engine,
  type Evaluation,
  type GraphFile,
  type GraphInfo,
  type Precision,
  type Rewrite,
  type TensorInfo,
} from './engine.js';
export { Batcher, type BatchReport, type Priority } from './batcher.js';
export { describeGraph, type GraphDescription } from './onnx/describe.js';
export { LocalEngine, DEFAULT_LANES, type LocalEngineOptions } from './onnx/localEngine.js';
export { CPU, deviceName, parseDevices, type Device, type DeviceKind } from './device.js';
