import { PRECISION_PARAMETER } from '../engine/remote/modelInterface.js';
import type { Precision, TensorInfo } from '../onnx/graphInfo.js';

/** Backends of Triton that run an exported network. */
export const BACKENDS = ['onnxruntime', 'python'] as const;
export type Backend = (typeof BACKENDS)[number];

/** Levels of the protocol's priorities, of which 1 is the highest. */
const PRIORITY_LEVELS = 8;
/** Requests that wait at a server at most; further ones are refused with status 503, and clients try elsewhere. */
const MAX_QUEUE = 256;

const TYPES: Readonly<Partial<Record<string, string>>> = {
  float32: 'TYPE_FP32',
  int64: 'TYPE_INT64',
  int32: 'TYPE_INT32',
};

/** What a server has to know of a network. */
export interface ServedNetwork {
  /** Name of the model on the server. */
  readonly name: string;
  readonly backend: Backend;
  /** For people: which model it is of. */
  readonly source: string;
  /** All with batch axis. */
  readonly inputs: readonly TensorInfo[];
  readonly output: TensorInfo;
  /** Precision of the arithmetic; undefined: float32. */
  readonly precision?: Precision | undefined;
  /** Sizes of batches to be ready for, in rows, ascending; the last is the largest batch. */
  readonly batches: readonly number[];
  /** Shapes of the inputs for the default image, by name, without batch axis; undefined if they are not known. */
  readonly shapes: ReadonlyMap<string, readonly number[]> | undefined;
}

/**
 * The config.pbtxt of a network.
 * Source: model_config.proto of triton-inference-server/common; parameters of its onnxruntime_backend.
 */
export function modelConfig(network: ServedNetwork): string {
  const { name, backend, source, inputs, output, precision = 'float32', batches, shapes } = network;
  const sections = [
    `# The denoising network of ${source}, written by srds export-triton.`,
    `name: ${text(name)}\nbackend: ${text(backend)}\nmax_batch_size: ${batches[batches.length - 1]}`,
    list('input', inputs.map(tensor)),
    list('output', [tensor(output)]),
    `# Rows of several requests run as one batch. A request's priority is 1, the highest, to ${PRIORITY_LEVELS}; speculative ones come last.`,
    [
      'dynamic_batching {',
      `  priority_levels: ${PRIORITY_LEVELS}`,
      `  default_priority_level: ${PRIORITY_LEVELS}`,
      '  # Beyond this a request is refused, and clients take another server.',
      `  default_queue_policy { max_queue_size: ${MAX_QUEUE} }`,
      '}',
    ].join('\n'),
    '# One instance on each GPU, or on the CPU if there is none.',
    'instance_group [ { kind: KIND_AUTO count: 1 } ]',
    `# For clients: the tensors are float32 in any case.\n${parameter(PRECISION_PARAMETER, precision)}`,
    ...(backend === 'python' ? [parameter('batch_sizes', batches.join(','))] : onnxRuntime(network)),
    ...(shapes
      ? ['# Runs each size of batches before the server is ready.', list('model_warmup', warmups(network, shapes))]
      : []),
  ];
  return `${sections.join('\n')}\n`;
}

function onnxRuntime({ batches, shapes }: ServedNetwork): string[] {
  const cuda = [
    '# The exhaustive search of algorithms, the default, would be made again whenever the size of batches changes.',
    parameter('cudnn_conv_algo_search', '1'),
  ];
  if (!shapes) return cuda;
  const profile = (rows: number) => [...shapes].map(([name, dims]) => `${name}:${[rows, ...dims].join('x')}`).join(',');
  const parameters = {
    precision_mode: 'FP16',
    trt_engine_cache_enable: 'true',
    trt_engine_cache_path: '/tmp/tensorrt',
    trt_profile_min_shapes: profile(batches[0]),
    trt_profile_opt_shapes: profile(batches[Math.floor(batches.length / 2)]),
    trt_profile_max_shapes: profile(batches[batches.length - 1]),
  };
  const accelerator = [
    'optimization { execution_accelerators { gpu_execution_accelerator: [ {',
    '  name: "tensorrt"',
    ...Object.entries(parameters).map(([key, value]) => `  parameters { key: ${text(key)} value: ${text(value)} }`),
    '} ] } }',
  ];
  return [
    ...cuda,
    '# TensorRT: remove "#! " from these lines. The first start builds the engines, for minutes; keep their folder.',
    ...accelerator.map((line) => `#! ${line}`),
  ];
}

function warmups({ inputs, batches }: ServedNetwork, shapes: ReadonlyMap<string, readonly number[]>): string[] {
  return batches.map((rows) => {
    const values = inputs.flatMap(({ name, type }) => {
      const dims = rowDims(shapes.get(name) ?? []);
      // Whole numbers are positions or timesteps.
      const data = type === 'float32' ? 'random_data: true' : 'zero_data: true';
      const value = `{ data_type: ${TYPES[type]} dims: [ ${dims.join(', ')} ] ${data} }`;
      return `    inputs { key: ${text(name)} value: ${value} }`;
    });
    return ['{', `    name: "${rows} rows"`, `    batch_size: ${rows}`, ...values, '  }'].join('\n');
  });
}

function tensor({ name, type, dims: [, ...row] }: TensorInfo): string {
  const dims = rowDims(row.map((dim) => (typeof dim === 'number' ? dim : -1)));
  const reshape = row.length === 0 ? ' reshape { shape: [ ] }' : '';
  return `{ name: ${text(name)} data_type: ${TYPES[type]} dims: [ ${dims.join(', ')} ]${reshape} }`;
}

/** Triton has no rows without axes: one value a row is a row of one value. */
function rowDims(row: readonly number[]): readonly number[] {
  return row.length === 0 ? [1] : row;
}

function list(name: string, entries: readonly string[]): string {
  return `${name} [\n${entries.map((entry) => `  ${entry}`).join(',\n')}\n]`;
}

function parameter(key: string, value: string): string {
  return `parameters { key: ${text(key)} value { string_value: ${text(value)} } }`;
}

function text(value: string): string {
  return JSON.stringify(value);
}
