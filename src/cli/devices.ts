import { parseDevices } from '../engine/device.js';
import type { DeviceValues } from '../pipeline/options/devices.js';
import type { OpenOptions } from '../pipeline/openOptions.js';

/** Devices that a model opens on, and how it uses them. */
export type OpenOnDevices = Pick<
  OpenOptions,
  'devices' | 'precision' | 'buckets' | 'fused' | 'cudaGraphs' | 'threads' | 'workers'
>;

/** The options of opening a pipeline, and the other flags. @throws SrdsError INVALID_OPTION for an unknown device */
export function splitDeviceFlags<Flags extends DeviceValues>(
  flags: Flags,
): {
  readonly open: OpenOnDevices;
  readonly others: Omit<Flags, keyof DeviceValues>;
} {
  const { device, precision, buckets, fused, cudaGraphs, threads, workers, ...others } = flags;
  const devices = device === undefined ? undefined : parseDevices(device);
  return { open: { devices, precision, buckets, fused, cudaGraphs, threads, workers }, others };
}
