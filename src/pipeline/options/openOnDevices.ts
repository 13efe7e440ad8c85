import { readFile } from 'node:fs/promises';
import { parseDevices, type Device } from '../../engine/device.js';
import { messageOf, SrdsError } from '../../errors.js';
import type { OpenOptions } from '../openOptions.js';
import type { DeviceValues } from './devices.js';

/** Devices that a model opens on, and how it uses them. */
export interface OpenOnDevices extends Pick<
  OpenOptions,
  'precision' | 'buckets' | 'fused' | 'cudaGraphs' | 'threads' | 'workers' | 'endpoints' | 'hedge'
> {
  readonly devices?: readonly Device[] | 'auto' | undefined;
}

/**
 * The options of opening a pipeline that the options of devices stand for.
 * @throws SrdsError INVALID_OPTION for an unknown device, or authorities that cannot be read
 */
export async function openOnDevices(values: DeviceValues): Promise<OpenOnDevices> {
  const { device, precision, buckets, fused, cudaGraphs, threads, workers, hedge } = values;
  const { endpointToken: token, endpointHeaders = [], endpointCa, endpointInFlight, endpointBatching } = values;
  const devices = device === undefined ? undefined : parseDevices(device);
  const headers = Object.fromEntries(endpointHeaders.map(parseHeader));
  const ca = endpointCa === undefined ? undefined : await authorities(endpointCa);
  const endpoints = { token, headers, ca, inFlight: endpointInFlight, batching: endpointBatching };
  // An empty list stands for the default sizes.
  const sizes = buckets?.length === 0 ? undefined : buckets;
  return { devices, precision, buckets: sizes, fused, cudaGraphs, threads, workers, endpoints, hedge };
}

function parseHeader(text: string): [name: string, value: string] {
  const colon = text.indexOf(':');
  return [text.slice(0, colon).toLowerCase(), text.slice(colon + 1).trim()];
}

/** Certificates in a file. */
async function authorities(file: string): Promise<string> {
  const invalid = (found: string) =>
    new SrdsError('INVALID_OPTION', `certificates in ${file}`, found, 'give a PEM file to --endpoint-ca');
  const content = await readFile(file, 'utf8').catch((error: unknown) => {
    throw invalid(messageOf(error));
  });
  if (!content.includes('-----BEGIN CERTIFICATE-----')) throw invalid('none');
  return content;
}
