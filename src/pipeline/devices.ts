import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Devices, for those who show results. */
export { CPU, deviceName, parseDevices, type Device } from '../engine/device.js';
export type { Precision } from '../onnx/graphInfo.js';
export { findDevices, probe, type Probe } from '../engine/local/probe.js';

/** GPUs that NVIDIA's driver knows, with their memory; none without it. */
export async function gpuNames(): Promise<string[]> {
  const query = ['--query-gpu=name,memory.total', '--format=csv,noheader'];
  const { stdout } = await promisify(execFile)('nvidia-smi', query).catch(() => ({ stdout: '' }));
  return stdout.split('\n').filter((line) => line !== '');
}
