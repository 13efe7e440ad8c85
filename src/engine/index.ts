export {
  isShared,
  type Fused,
  type GraphFile,
  type GraphInfo,
  type InputRole,
  type Precision,
  type Rewrite,
  type TensorInfo,
} from '../onnx/graphInfo.js';
export type {
  Batch,
  BatchOptions,
  BatchResult,
  Capacity,
  ConditioningId,
  DeviceGroup,
  Engine,
  Evaluation,
  Limits,
  OutputRow,
} from './engine.js';
export { Batcher, type BatchReport, type Client, type RequestOptions } from './batcher.js';
export { findDevices, probe, type Probe } from './local/probe.js';
export type { Slower } from './local/protocol.js';
export type { Problem } from './local/remedies.js';
export { describeGraph, type GraphDescription } from '../onnx/describe.js';
export { DeviceEngine, type DeviceEngineOptions } from './deviceEngine.js';
export { DEFAULT_BUCKETS, type ProcessorOptions } from './local/openProcessors.js';
export type { EndpointOptions } from './remote/remoteDevice.js';
export type { Batching } from './remote/batching.js';
export { freeMemory } from './freeMemory.js';
export { CPU, deviceName, parseDevices, type Device, type Processor } from './device.js';
export type { DeviceKind } from '../onnx/graphInfo.js';
export { endpointName, parseEndpoint, type Endpoint } from './remote/endpoint.js';
export { OipClient, OipError, type Connection, type OipFailure, type RequestLimits } from './remote/oipClient.js';
export type {
  AnswerTensor,
  InferRequest,
  ModelConfig,
  ModelMetadata,
  RequestTensor,
  ServerMetadata,
  TensorMetadata,
} from './remote/oip.js';
