import { SrdsError } from '../errors.js';
import type { DeviceKind } from '../onnx/graphInfo.js';

/** A device that networks run on. */
export interface Device {
  readonly kind: DeviceKind;
  /** Index among the devices of this kind, from 0. */
  readonly index: number;
}

export const CPU: Device = { kind: 'cpu', index: 0 };

/** The name of a device, as `parseDevices` reads it: `cpu`, `cuda:0`, `webgpu:0`. */
export function deviceName({ kind, index }: Device): string {
  return kind === 'cpu' ? kind : `${kind}:${index}`;
}

/**
 * Parses the names of devices, separated by commas: `cpu`, `cuda`, `cuda:1`, `webgpu`, or `auto` alone.
 * @throws SrdsError INVALID_OPTION
 */
export function parseDevices(text: string): readonly Device[] | 'auto' {
  if (text === 'auto') return 'auto';
  const devices = text.split(',').map((name) => parseDevice(name.trim()));
  const names = devices.map(deviceName);
  const duplicate = names.find((name, i) => names.indexOf(name) !== i);
  if (duplicate === undefined) return devices;
  throw new SrdsError('INVALID_OPTION', 'each device once', `${duplicate} twice`, 'for more processes use --workers');
}

function parseDevice(name: string): Device {
  if (name === 'cpu') return CPU;
  const [kind, index = '0', ...more] = name.split(':');
  if ((kind === 'cuda' || kind === 'webgpu') && /^\d{1,3}$/.test(index) && more.length === 0) {
    return { kind, index: Number(index) };
  }
  throw new SrdsError(
    'INVALID_OPTION',
    'devices such as cpu, cuda, cuda:1 or webgpu, or auto alone',
    name === '' ? 'an empty name' : name,
    'srds doctor lists those of this machine',
  );
}
