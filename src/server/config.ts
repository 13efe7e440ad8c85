import { z } from 'zod';
import { issueOf, SrdsError } from '../errors.js';
import { parseDevices } from '../pipeline/devices.js';

const MEBI = 2 ** 20;
const GIBI = 2 ** 30;

const seconds = z.number().positive().max(86400);

/** Each setting with what it means, its default and its bounds. */
const schema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('address to listen on'),
  port: z.int().min(0).max(65535).default(7860).describe('port to listen on; 0: any that is free'),
  models: z.array(z.string()).default([]).describe('folder or hub name of each model, the default one first'),
  apiKeys: z.array(z.string().min(8)).default([]).describe('keys, one of which every request must bear'),
  allowAnonymous: z.boolean().default(false).describe('listen beyond this machine without keys'),
  device: z.string().default('cpu').describe('as of srds generate'),
  precision: z.enum(['auto', 'float32', 'float16']).default('auto').describe('as of srds generate'),
  buckets: z.array(z.int().positive()).default([]).describe('as of srds generate'),
  fused: z.boolean().default(true).describe('run graphs in buckets in fewer operators than they were exported with'),
  threads: z.int().positive().optional().describe('as of srds generate'),
  workers: z.int().positive().optional().describe('as of srds generate'),
  concurrency: z.int().min(1).max(256).optional().describe('requests drawn at once (default: 2 on a CPU, 16 on GPUs)'),
  queue: z.int().min(0).max(10000).default(64).describe('requests that may wait'),
  maxSteps: z.int().min(1).max(1000).default(250).describe('steps that a request may ask for'),
  maxPixels: z
    .int()
    .min(64)
    .max(2 ** 24)
    .optional()
    .describe("pixels of an image (default: four times the model's)"),
  maxImages: z.int().min(1).max(100).default(10).describe('images that a request may ask for'),
  maxBody: z.number().positive().max(1024).default(20).describe('MiB of a request'),
  memory: z.number().positive().optional().describe('GiB that the weights of all models may take (default: no bound)'),
  deadline: seconds.default(600).describe('seconds after which a request is given up'),
  drain: seconds.default(30).describe('seconds that requests under way are given when the server is to end'),
  logLevel: z
    .enum(['silent', 'error', 'warn', 'info', 'debug'])
    .default('info')
    .describe('what is logged, as JSON lines'),
  logPrompts: z.boolean().default(false).describe('log prompts too'),
  corsOrigins: z
    .array(z.string().regex(/^(\*|https?:\/\/[^/]+)$/, 'expected * or an origin such as https://example.org'))
    .default([])
    .describe('origins whose pages may ask; * for all'),
  publicUrl: z.url().optional().describe('where clients find this server, for addresses of images'),
});

/** How a server is run. */
export interface ServerConfig extends Omit<z.output<typeof schema>, 'maxBody' | 'memory'> {
  readonly maxBodyBytes: number;
  readonly memoryBytes: number;
}

type Shape = typeof schema.shape;
export type SettingName = keyof Shape;

/** A setting as the command line and the environment give it: text, `true`, or several texts. */
export type Given = Readonly<Partial<Record<SettingName, unknown>>>;

/** What a value is read from text as. */
export type SettingKind = 'text' | 'number' | 'boolean' | 'texts' | 'numbers';

const NUMBERS: readonly SettingName[] = [
  ...(['port', 'threads', 'workers', 'concurrency', 'queue', 'maxSteps', 'maxPixels', 'maxImages', 'maxBody'] as const),
  ...(['memory', 'deadline', 'drain'] as const),
];

export const SETTINGS = (Object.keys(schema.shape) as SettingName[]).map((name) => ({
  name,
  kind: kindOf(name),
  /** The variable that sets it. */
  variable: `SRDS_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`,
  description: schema.shape[name].description ?? '',
  fallback: schema.shape[name].safeParse(undefined).data,
}));

function kindOf(name: SettingName): SettingKind {
  if (NUMBERS.includes(name)) return 'number';
  if (name === 'buckets') return 'numbers';
  if (name === 'models' || name === 'apiKeys' || name === 'corsOrigins') return 'texts';
  return name === 'allowAnonymous' || name === 'fused' || name === 'logPrompts' ? 'boolean' : 'text';
}

/** A setting's value from text, as in a variable of the environment; one that makes no sense is left for the check. */
export function fromText(kind: SettingKind, text: string): unknown {
  switch (kind) {
    case 'text':
      return text;
    case 'number':
      return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
    case 'boolean':
      return { true: true, '1': true, false: false, '0': false }[text] ?? text;
    case 'texts':
      return text.split(',').map((part) => part.trim());
    case 'numbers':
      return text.split(',').map(Number);
  }
}

/** Where settings come from. */
export interface Source {
  /** What to call it in an error. */
  readonly name: string;
  readonly settings: Given;
  /** What a setting is called there. */
  readonly nameOf?: (setting: SettingName) => string;
}

/**
 * The configuration from its sources, those named first counting most.
 * @throws SrdsError INVALID_OPTION
 */
export function parseConfig(sources: readonly Source[]): ServerConfig {
  for (const { name, settings, nameOf = (setting: SettingName) => setting } of sources) {
    const { error } = schema.safeParse(settings);
    if (!error) continue;
    const [issue] = error.issues;
    const setting = issue.path[0] as SettingName | undefined;
    if (setting === undefined) throw invalid(`settings of a server in ${name}`, issueOf(issue));
    const words =
      SETTINGS.find((one) => one.name === setting)?.kind === 'boolean'
        ? 'true or false'
        : issueOf({ ...issue, path: [] });
    // Keys are no one's to read.
    const found = setting === 'apiKeys' ? 'one' : JSON.stringify(settings[setting]);
    throw invalid(`a fitting ${nameOf(setting)}`, `${found} in ${name}: ${words}`);
  }
  const merged = Object.assign({}, ...sources.map(({ settings }) => settings).reverse()) as Given;
  const { maxBody, memory, ...config } = schema.parse(merged);
  parseDevices(config.device);
  const { host, apiKeys, allowAnonymous } = config;
  if (!isLoopback(host) && apiKeys.length === 0 && !allowAnonymous) {
    throw invalid(
      `API keys to listen on ${host}, where others can connect`,
      'none',
      'give --api-key, or --allow-anonymous if that is what you want',
    );
  }
  return { ...config, maxBodyBytes: Math.floor(maxBody * MEBI), memoryBytes: memory ? memory * GIBI : Infinity };
}

/** Whether only this machine can connect to an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function invalid(expected: string, found: string, remedy = 'see srds serve --help'): SrdsError {
  return new SrdsError('INVALID_OPTION', expected, found, remedy);
}
