import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { SrdsError } from '../errors.js';
import { parseDevices } from '../engine/device.js';
import { DEVICE_OPTIONS } from '../pipeline/options/devices.js';
import { GENERATION_OPTIONS, type GenerationValues } from '../pipeline/options/generation.js';
import {
  option,
  variableOf,
  withDefaults,
  without,
  type FilledValues,
  type Options,
  type OptionValues,
} from '../pipeline/options/option.js';
import { mergeSources, type Source } from '../pipeline/options/sources.js';

const MEBI = 2 ** 20;
const GIBI = 2 ** 30;

const seconds = z.number().positive().max(86400);
/** Headers hold no other characters, so no client could send such a key. */
const apiKey = z.string().regex(/^[\x21-\x7e]{8,}$/);
const origin = z.string().regex(/^(\*|https?:\/\/[^/]+)$/, 'expected * or an origin such as https://example.org');

const NETWORK_OPTIONS = {
  host: option(z.string().min(1), {
    description: 'address to listen on',
    default: '127.0.0.1',
    placeholder: '<address>',
  }),
  port: option(z.int().min(0).max(65535), {
    description: 'port to listen on; 0: any free port',
    default: 7860,
    placeholder: '<port>',
  }),
  models: option(z.array(z.string()).readonly(), {
    description: 'folder or hub name of each model, the default model first',
    placeholder: '<folder>',
    flag: 'model',
    default: [],
    defaultText: 'the bundled model',
  }),
  apiKeys: option(z.array(apiKey).readonly(), {
    description: 'key that a request must have, or one of several, each of at least 8 characters',
    expected: 'keys of at least 8 visible ASCII characters, without spaces',
    flag: 'api-key',
    placeholder: '<key>',
    default: [],
    defaultText: 'none: everyone who can connect is served',
    secret: true,
  }),
  adminKeys: option(z.array(apiKey).readonly(), {
    description: 'key of operators, or one of several, who may load and unload models too',
    expected: 'keys of at least 8 visible ASCII characters, without spaces',
    flag: 'admin-key',
    default: [],
    defaultText: 'none: nobody may',
    secret: true,
  }),
  allowAnonymous: option(z.boolean(), { description: 'serve other machines without keys', default: false }),
  corsOrigins: option(z.array(origin).readonly(), {
    description: 'origins whose pages may send requests; * for all',
    flag: 'cors-origin',
    placeholder: '<origin>',
    default: [],
    defaultText: 'none',
  }),
  publicUrl: option(z.url(), {
    description: 'address at which clients reach this server, for addresses of images',
    expected: 'a URL',
    placeholder: '<url>',
  }),
} satisfies Options;

const LIMIT_OPTIONS = {
  concurrency: option(z.int().min(1).max(256), {
    description: 'requests that are generated at once',
    defaultText: '2 on a CPU, 16 on GPUs',
  }),
  queue: option(z.int().min(0).max(10000), { description: 'requests that may wait', default: 64 }),
  maxSteps: option(z.int().min(1).max(1000), {
    description: 'largest number of steps of a request',
    default: 250,
    placeholder: '<steps>',
  }),
  maxPixels: option(
    z
      .int()
      .min(64)
      .max(2 ** 24),
    {
      description: 'largest number of pixels of an image',
      defaultText: "four times the model's",
      placeholder: '<pixels>',
    },
  ),
  maxImages: option(z.int().min(1).max(100), { description: 'largest number of images of a request', default: 10 }),
  maxBody: option(z.number().positive().max(1024), {
    description: 'largest size of a request',
    default: 20,
    defaultText: '20 MiB',
    placeholder: '<MiB>',
  }),
  memory: option(z.number().positive(), {
    description: 'memory for the weights of all models',
    defaultText: 'no bound',
    placeholder: '<GiB>',
  }),
  deadline: option(seconds, {
    description: 'time after which a request is aborted',
    default: 600,
    defaultText: '600 s',
    placeholder: '<seconds>',
  }),
  drain: option(seconds, {
    description: 'time that running requests have to finish at shutdown',
    default: 30,
    defaultText: '30 s',
    placeholder: '<seconds>',
  }),
  strict: option(z.boolean(), {
    description: 'refuse requests that cannot be met in full, instead of meeting the rest with a warning',
    default: false,
  }),
} satisfies Options;

const LOG_OPTIONS = {
  logLevel: option(z.enum(['silent', 'error', 'warn', 'info', 'debug']), {
    description: 'least level of the log, which is written as JSON lines',
    default: 'info',
  }),
  logPrompts: option(z.boolean(), { description: 'log prompts too', default: false }),
} satisfies Options;

/** The options of a generation that a server takes as the defaults of requests. */
const REQUEST_OPTIONS = without(GENERATION_OPTIONS, 'prompt', 'compare', 'previews');

/** The settings of a server by groups, as help shows them. */
export const SERVER_OPTION_GROUPS: Readonly<Record<string, Options>> = {
  'Network and models:': NETWORK_OPTIONS,
  'Devices:': DEVICE_OPTIONS,
  'Limits:': LIMIT_OPTIONS,
  'Log:': LOG_OPTIONS,
  'Defaults of requests:': REQUEST_OPTIONS,
};

const OWN_OPTIONS = { ...NETWORK_OPTIONS, ...DEVICE_OPTIONS, ...LIMIT_OPTIONS, ...LOG_OPTIONS };

/** All settings of a server: its own, and the defaults of requests. */
export const SERVER_OPTIONS = { ...OWN_OPTIONS, ...REQUEST_OPTIONS };

/** The variables that a server reads. */
export const SERVER_VARIABLES: readonly string[] = Object.keys(SERVER_OPTIONS).map(variableOf);

/** Settings of a server by their names. */
export type ServerValues = OptionValues<typeof SERVER_OPTIONS>;

type OwnValues = FilledValues<typeof OWN_OPTIONS>;

/** How a server runs. */
export interface ServerConfig extends Omit<OwnValues, 'maxBody' | 'memory'> {
  readonly maxBodyBytes: number;
  /** Infinity: no bound. */
  readonly memoryBytes: number;
  /** The defaults of requests. */
  readonly requests: GenerationValues;
}

/**
 * The configuration that the sources give; the first source that has a setting wins.
 * @throws SrdsError INVALID_OPTION
 */
export function parseConfig(sources: readonly Source[]): ServerConfig {
  const own = sources.map((source) => part(source, (name) => !Object.hasOwn(REQUEST_OPTIONS, name)));
  const requests = sources.map((source) => part(source, (name) => Object.hasOwn(REQUEST_OPTIONS, name)));
  const { maxBody, memory, ...config } = withDefaults(OWN_OPTIONS, mergeSources(OWN_OPTIONS, own, REMEDY));
  parseDevices(config.device);
  const { host, apiKeys, allowAnonymous } = config;
  if (!isLoopback(host) && apiKeys.length === 0 && !allowAnonymous) {
    throw new SrdsError(
      'INVALID_OPTION',
      `API keys to listen on ${host}, which other machines can reach`,
      'none',
      'give --api-key, or --allow-anonymous to serve everyone',
    );
  }
  const defaults = mergeSources(REQUEST_OPTIONS, requests, REMEDY);
  checkWithin('steps', defaults.steps, config.maxSteps, '--max-steps');
  checkWithin('images', defaults.n, config.maxImages, '--max-images');
  return {
    ...config,
    maxBodyBytes: Math.floor(maxBody * MEBI),
    memoryBytes: memory === undefined ? Infinity : memory * GIBI,
    requests: defaults,
  };
}

/** @throws SrdsError INVALID_OPTION if a default of requests is more than they may ask for */
function checkWithin(what: string, value: number | undefined, most: number, flag: string): void {
  if (value === undefined || value <= most) return;
  const expected = `a default of at most ${most} ${what}, which ${flag} allows`;
  throw new SrdsError('INVALID_OPTION', expected, String(value), `give fewer, or a larger ${flag}`);
}

const REMEDY = 'see srds serve --help';

function part({ settings, ...source }: Source, includes: (name: string) => boolean): Source {
  return { ...source, settings: Object.fromEntries(Object.entries(settings).filter(([name]) => includes(name))) };
}

/** Whether only this machine can connect to an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
