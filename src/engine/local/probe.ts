import { messageOf, SrdsError } from '../../errors.js';
import { CPU, deviceName, isProcessor, type Device, type Processor } from '../device.js';
import { DeviceProcess } from './deviceProcess.js';
import type { Slower } from './protocol.js';
import { explain, type Problem } from './remedies.js';

/** Seconds after which a device that does not answer counts as one that does not work. */
const PROBE_S = 300;

/** The result of probing a device. */
export interface Probe {
  readonly device: Processor;
  /** Why the device does not work, and the remedy; undefined if it works. */
  readonly problem?: Problem;
  /** What a CUDA device that works does without. */
  readonly slower?: Slower | undefined;
}

/** Devices that `auto` probes before it uses the CPU, fastest first. */
const PREFERRED: readonly Processor[] = [
  { kind: 'cuda', index: 0 },
  { kind: 'webgpu', index: 0 },
];

/**
 * Probes a device: opens and runs a session on it, in a process of its own.
 * @param kernels whether to compile and run one of this package's kernels for CUDA too
 */
export async function probe(device: Processor, kernels = false): Promise<Probe> {
  if (device.kind === 'webgpu' && device.index > 0) {
    const why = 'ONNX Runtime for Node offers one WebGPU adapter';
    return { device, problem: { why, remedy: 'use webgpu, and choose its adapter in the Vulkan loader' } };
  }
  const cApi = device.kind === 'cuda';
  const process = new DeviceProcess({ device, threads: 1, buckets: [], fused: false, cApi, kernels });
  try {
    const reply = await process.request({ kind: 'probe' }, PROBE_S);
    if (reply.kind === 'works') return { device, slower: reply.slower };
    return { device, problem: await explain(device, reply.kind === 'failed' ? reply.message : reply.kind) };
  } catch (error) {
    return { device, problem: await explain(device, messageOf(error)) };
  } finally {
    await process.close();
  }
}

/**
 * Finds the devices to run on. All processors but the CPU are probed.
 * @param wanted `auto`: CUDA, else WebGPU, else the CPU
 * @param onWarning called with the reasons why `auto` uses the CPU
 * @throws SrdsError DEVICE_UNAVAILABLE if a named device does not work
 */
export async function findDevices(
  wanted: readonly Device[] | 'auto',
  onWarning: (message: string) => void = () => undefined,
): Promise<readonly Device[]> {
  if (wanted === 'auto') {
    const without: string[] = [];
    for (const device of PREFERRED) {
      const { problem } = await probe(device);
      if (!problem) return [device];
      without.push(`${deviceName(device)} (${problem.why}; ${problem.remedy})`);
    }
    onWarning(`running on the cpu, without ${without.join(' and ')}`);
    return [CPU];
  }
  for (const device of wanted.filter(isProcessor).filter(({ kind }) => kind !== 'cpu')) {
    const { problem } = await probe(device);
    if (!problem) continue;
    throw new SrdsError('DEVICE_UNAVAILABLE', `${deviceName(device)} to be ready for use`, problem.why, problem.remedy);
  }
  return wanted;
}
