import { SrdsError } from '../errors.js';
import type { DeviceKind } from '../onnx/graphInfo.js';
import { endpointName, namesEndpoint, parseEndpoint, type Endpoint } from './remote/endpoint.js';

/** A CPU or GPU of this machine. */
export interface Processor {
  readonly kind: DeviceKind;
  /** Index among the processors of this kind, from 0. */
  readonly index: number;
}

/** A device that networks run on. */
export type Device = Processor | Endpoint;

export const CPU: Processor = { kind: 'cpu', index: 0 };

/** Whether a device is part of this machine. */
export function isProcessor(device: Device): device is Processor {
  return device.kind !== 'oip';
}

/** Whether a device is a network on a server. */
export function isEndpoint(device: Device): device is Endpoint {
  return device.kind === 'oip';
}

/** Whether all devices are endpoints, so that their graph is not loaded on this machine. */
export function areEndpoints(devices: readonly Device[]): boolean {
  return devices.length > 0 && devices.every(isEndpoint);
}

/** The name of a device, as `parseDevices` reads it: `cpu`, `cuda:0`, `webgpu:0`, `oip+http://host:8000/unet`. */
export function deviceName(device: Device): string {
  if (isEndpoint(device)) return endpointName(device);
  return device.kind === 'cpu' ? device.kind : `${device.kind}:${device.index}`;
}

/**
 * Parses the names of devices, separated by commas: `cpu`, `cuda`, `cuda:1`, `webgpu`, the address of a network on a server such as
 * `oip+http://host:8000/unet`, or `auto` alone.
 * @throws SrdsError INVALID_OPTION
 */
export function parseDevices(text: string): readonly Device[] | 'auto' {
  if (text === 'auto') return 'auto';
  const devices = text.split(',').map((name) => parseDevice(name.trim()));
  const names = devices.map(deviceName);
  const duplicate = names.find((name, i) => names.indexOf(name) !== i);
  if (duplicate === undefined) return devices;
  const remedy = namesEndpoint(duplicate) ? 'leave one out' : 'for more processes use --workers';
  throw new SrdsError('INVALID_OPTION', 'each device once', `${duplicate} twice`, remedy);
}

function parseDevice(name: string): Device {
  if (name === 'cpu') return CPU;
  if (namesEndpoint(name)) return parseEndpoint(name);
  const [kind, index = '0', ...more] = name.split(':');
  if ((kind === 'cuda' || kind === 'webgpu') && /^\d{1,3}$/.test(index) && more.length === 0) {
    return { kind, index: Number(index) };
  }
  const isAddress = /^https?:\/\//.test(name);
  throw new SrdsError(
    'INVALID_OPTION',
    'devices such as cpu, cuda, cuda:1, webgpu or oip+http://host:8000/unet, or auto alone',
    name === '' ? 'an empty name' : name,
    isAddress ? 'put oip+ before the address of a network on a server' : 'srds doctor lists those of this machine',
  );
}
