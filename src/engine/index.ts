export {
  isShared,
  type Batch,
  type BatchResult,
  type ConditioningId,
  type Engine,
  type Evaluation,
  type GraphFile,
  type GraphInfo,
  type Rewrite,
  type TensorInfo,
} from './engine.js';
export { Batcher, type BatchReport, type Priority } from './batcher.js';
export { describeGraph, type GraphDescription } from './onnx/describe.js';
export { CpuEngine, type CpuEngineOptions } from './onnx/cpuEngine.js';
