/** Devices, for those who show results. */
export { deviceName, parseDevices, type Device } from '../engine/device.js';
export type { Precision } from '../engine/engine.js';
export { probe, type Probe } from '../engine/onnx/probe.js';
