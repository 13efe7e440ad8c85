import { z } from 'zod';
import { parseDevices, type Device } from '../engine/device.js';
import type { DeviceEngineOptions } from '../engine/deviceEngine.js';
import type { EndpointOptions } from '../engine/remote/remoteDevice.js';
import type { ModelFolder } from '../model/modelFolder.js';
import type { OpenModelOptions } from '../model/openModel.js';
import { issueOf, SrdsError } from '../errors.js';
import type { Precision } from '../onnx/graphInfo.js';
import type { BatchReport } from '../engine/batcher.js';
import type { Activity } from './activity.js';
import { DEVICE_OPTIONS } from './options/devices.js';
import { checkLibraryValues, option, without, type Option } from './options/option.js';

/** How to open a pipeline on devices. */
export interface OpenOptions
  extends Omit<DeviceEngineOptions, 'graphs' | 'devices' | 'endpoints' | 'onWarning'>, OpenModelOptions {
  /**
   * Devices that work together on an image, as objects or as text, such as `cuda:0,cuda:1`; default: the CPU. `auto`: a GPU if there
   * is one that works. Endpoints evaluate the denoising network; text encoders and the VAE run on the other devices, or on the CPU where
   * there are none.
   */
  readonly devices?: readonly Device[] | string | undefined;
  /** How endpoints are used. */
  readonly endpoints?: Omit<EndpointOptions, 'graph' | 'inputs'> | undefined;
  /** Arithmetic of the denoising network; default `auto`: half precision on GPUs if the folder's weights are stored in it. */
  readonly precision?: Precision | 'auto' | undefined;
  /**
   * Keeps either the text encoders or the other networks in memory: they are loaded for each run and freed when the run no longer
   * needs them. Runs then take turns.
   */
  readonly lowMemory?: boolean | undefined;
  /** Shared with other pipelines on the same devices, so that only runs that are alone on these correct what is known of them. */
  readonly activity?: Activity | undefined;
  /** Called after each batch of the network, for traces and benchmarks. */
  readonly onBatch?: ((report: BatchReport) => void) | undefined;
}

const DESCRIBED = without(
  DEVICE_OPTIONS,
  'device',
  'endpointToken',
  'endpointHeaders',
  'endpointCa',
  'endpointInFlight',
  'endpointBatching',
);
/** The options in `endpoints`. */
const ENDPOINTS = {
  token: option(DEVICE_OPTIONS.endpointToken.schema, { description: 'bearer token for endpoints', secret: true }),
  headers: option(z.record(z.string().regex(/^[!#$%&'*+.^_`|~\w-]+$/), z.string().regex(/^[\t -~]*$/)), {
    description: 'further headers of requests to endpoints, by their names',
    expected: 'an object of names and values of HTTP headers',
    secret: true,
  }),
  ca: option(z.string().includes('-----BEGIN CERTIFICATE-----'), {
    description: 'certificates of the authorities of endpoints',
    expected: 'certificates in PEM',
    secret: true,
  }),
  inFlight: DEVICE_OPTIONS.endpointInFlight,
  batching: DEVICE_OPTIONS.endpointBatching,
} satisfies Readonly<Record<keyof NonNullable<OpenOptions['endpoints']>, Option>>;

const device = z.union([
  z.object({ kind: z.enum(['cpu', 'cuda', 'webgpu']), index: z.int().nonnegative() }),
  z.object({
    kind: z.literal('oip'),
    url: z.url({ protocol: /^https?$/ }).regex(/[^/]$/),
    model: z.string().min(1),
    version: z.string().min(1).optional(),
  }),
]);

/** Options that have no description of their own. */
const OTHERS: Readonly<Record<Exclude<keyof OpenOptions, keyof typeof DESCRIBED>, true>> = {
  activity: true,
  devices: true,
  endpoints: true,
  lowMemory: true,
  onBatch: true,
  onProgress: true,
  onRestart: true,
  onWarning: true,
  signal: true,
};

/** @throws SrdsError INVALID_OPTION for what is no folder that was read, which a program without types may give */
export function checkedFolder(folder: ModelFolder): ModelFolder {
  if (Array.isArray((folder as Partial<ModelFolder> | null)?.textEncoders)) return folder;
  const remedy = 'give the path of a diffusers folder of ONNX graphs, and options after it';
  throw new SrdsError(
    'INVALID_OPTION',
    'the path of a model folder or a folder that was read',
    'something else',
    remedy,
  );
}

/**
 * Checks the options of opening a pipeline.
 * @returns the devices; undefined if none are given
 * @throws SrdsError INVALID_OPTION
 */
export function checkedDevices(options: OpenOptions): readonly Device[] | 'auto' | undefined {
  checkLibraryValues(DESCRIBED, options, Object.keys(OTHERS));
  const { devices, endpoints = {} } = options;
  checkLibraryValues(ENDPOINTS, endpoints, []);
  if (typeof devices === 'string') return parseDevices(devices);
  const { success, error } = z.array(device).optional().safeParse(devices);
  if (success) return devices;
  const remedy = "give them as text, such as 'cuda:0'";
  throw new SrdsError('INVALID_OPTION', 'devices as text or as a list of objects', issueOf(error.issues[0]), remedy);
}
