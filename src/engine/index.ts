export type { Batch, BatchResult, ConditioningId, Engine, Evaluation, GraphInfo, TensorInfo } from './engine.js';
export { Batcher, type BatchReport, type Priority } from './batcher.js';
export { CpuEngine, type CpuEngineOptions } from './onnx/cpuEngine.js';
