import { isShared, type GraphFile, type GraphInfo, type TensorInfo } from '../../onnx/graphInfo.js';
import { matchInputs } from '../../onnx/matchInputs.js';
import type { ModelConfig, ModelMetadata, TensorMetadata } from './oip.js';

/** Types that tensors are sent and received in, and what they are called here. */
const DATATYPES: Readonly<Record<string, string>> = {
  FP32: 'float32',
  FP16: 'float16',
  INT32: 'int32',
  INT64: 'int64',
};
const OUTPUT_DATATYPES: readonly string[] = ['FP32', 'FP16'];

/** Parameter of a configuration that says in which precision a network computes whose tensors are float32. */
export const PRECISION_PARAMETER = 'srds_precision';

/** Rows of the largest batch where the server names none. */
const MOST_ROWS = 64;
/** Rows of the largest batch in any case: more only delay urgent ones. */
const MAX_ROWS = 128;

/** An input of a network on a server. */
export interface RemoteInput {
  /** Its name in evaluations, and the server's. */
  readonly name: string;
  readonly ownName: string;
  readonly datatype: string;
  /** Its shape, the batch axis included; -1: any length. */
  readonly shape: readonly number[];
  /** `rows`: a value for each row. `shared`: a scalar for the whole batch. `constant`: one value, without a batch axis. */
  readonly batching: 'rows' | 'shared' | 'constant';
}

/** A network on a server, as its metadata and configuration describe it. */
export interface RemoteModel {
  readonly inputs: readonly RemoteInput[];
  readonly outputs: readonly TensorMetadata[];
  /** The graph that evaluations refer to. */
  readonly info: GraphInfo;
  /** Rows of the largest batch. */
  readonly maxRows: number;
  /** Rows of every batch, if the server takes no others. */
  readonly fixedRows: number | undefined;
  /** Whether the server makes batches of requests. */
  readonly batchesRequests: boolean;
  /** Levels of priority; 0: requests have none. */
  readonly priorityLevels: number;
  /** Requests that it runs at once, on one GPU or several. */
  readonly instances: number;
  /** What measurements of it depend on. */
  readonly identity: string;
}

/** Why a network on a server is not the one that evaluations need. */
export class Misfit extends Error {
  constructor(
    readonly expected: string,
    readonly found: string,
  ) {
    super(`expected ${expected}, found ${found}`);
  }
}

/** The network that a network on a server stands for. Without its parts, any network does. */
export interface WantedNetwork {
  /** The inputs that evaluations give, and those among them without a batch axis. */
  readonly file?: Pick<GraphFile, 'inputs' | 'constants'> | undefined;
  /** The inputs of its file, by their names in evaluations. */
  readonly inputs?: readonly TensorInfo[] | undefined;
}

/**
 * How to evaluate a network on a server.
 * @throws Misfit if it has other inputs or lengths than the wanted one, or types that cannot be sent
 */
export function remoteModel(
  metadata: ModelMetadata,
  config: ModelConfig | undefined,
  { file, inputs: wanted = [] }: WantedNetwork,
): RemoteModel {
  const { inputs, outputs } = metadata;
  if (outputs.length === 0) throw new Misfit('an output', 'none');
  if (inputs.length === 0) throw new Misfit('inputs', 'none');
  const unsupported =
    inputs.find(({ datatype }) => !(datatype in DATATYPES)) ??
    outputs.slice(0, 1).find(({ datatype }) => !OUTPUT_DATATYPES.includes(datatype));
  if (unsupported)
    throw new Misfit('inputs and outputs of FP32 or FP16', `${unsupported.name} of ${unsupported.datatype}`);
  const names = namesOf(inputs, file);
  const largest = inputs.reduce((a, b) => (b.shape.length > a.shape.length ? b : a), inputs[0]);
  const isBatched = (config?.max_batch_size ?? 0) > 0;
  const rows = largest.shape.at(0) ?? -1;
  const fixedRows = isBatched || rows < 0 ? undefined : rows;
  const maxRows = isBatched ? config?.max_batch_size : fixedRows;
  const described = inputs.map((input): RemoteInput => {
    const name = names.get(input.name) ?? input.name;
    const role = file?.inputs?.find((one) => one.name === name);
    const isConstant = file?.constants?.includes(name) === true && role?.ranks?.includes(input.shape.length) === true;
    const isOne = isShared({ dims: input.shape }) && fixedRows !== 1;
    const batching = isBatched ? 'rows' : isConstant ? 'constant' : isOne ? 'shared' : 'rows';
    return { name, ownName: input.name, datatype: input.datatype, shape: input.shape, batching };
  });
  const infos = described.map(inputInfo);
  for (const { name, dims } of wanted) {
    const own = infos.find((info) => info.name === name)?.dims ?? [];
    const differs = own.length === dims.length && own.some((n, k) => isFixed(n) && isFixed(dims[k]) && n !== dims[k]);
    if (differs) throw new Misfit(`${name} of shape ${axesText(dims)}`, axesText(own));
  }
  const isHalf =
    [...inputs, outputs[0]].some(({ datatype }) => datatype === 'FP16') ||
    config?.parameters[PRECISION_PARAMETER]?.string_value === 'float16';
  return {
    inputs: described,
    outputs,
    info: {
      inputs: infos,
      outputs: outputs.map(({ name, shape }) => ({ name, type: 'float32', dims: namedAxes(shape) })),
      ...(fixedRows !== undefined && { maxRows: fixedRows }),
      ...(isHalf && { precision: 'float16' as const }),
      roundsCoarsely: isHalf || !isOnCpu(config),
      ...(described.some(({ batching }) => batching === 'shared') && {
        rewrite: { status: 'impossible', input: 'timestep', why: 'its server does' } as const,
      }),
    },
    maxRows: Math.min(maxRows ?? MOST_ROWS, MAX_ROWS),
    fixedRows,
    batchesRequests: config?.dynamic_batching != null,
    priorityLevels: config?.dynamic_batching?.priority_levels ?? 0,
    instances: (config?.instance_group ?? []).reduce(
      (sum, { count, gpus }) => sum + count * Math.max(1, gpus.length),
      0,
    ),
    identity: JSON.stringify([metadata, config]),
  };
}

/** Whether a server says that it runs a model on CPUs only. */
function isOnCpu(config: ModelConfig | undefined): boolean {
  const instances = config?.instance_group ?? [];
  return instances.length > 0 && instances.every(({ kind }) => kind === 'KIND_CPU');
}

/** The names that inputs have in evaluations, by their own. @throws Misfit */
function namesOf(inputs: readonly TensorMetadata[], file: Pick<GraphFile, 'inputs'> | undefined): Map<string, string> {
  const roles = file?.inputs;
  if (!roles) return new Map(inputs.map(({ name }) => [name, name]));
  const infos = inputs.map(({ name, datatype, shape }) => ({
    name,
    type: DATATYPES[datatype],
    dims: namedAxes(withoutUnitAxis(shape)),
  }));
  const names = matchInputs(infos, roles);
  const needed = roles.filter(({ optional }) => optional === undefined).map(({ name }) => name);
  if (names.size < inputs.length)
    throw new Misfit(`the inputs ${needed.join(', ')}`, inputs.map(({ name }) => name).join(', ') || 'none');
  return names;
}

function inputInfo({ name, datatype, shape, batching }: RemoteInput): TensorInfo {
  const type = datatype === 'FP16' ? 'float32' : DATATYPES[datatype];
  if (batching === 'shared') return { name, type, dims: [] };
  if (batching === 'constant') return { name, type, dims: namedAxes(shape), constant: true };
  return { name, type, dims: ['batch', ...namedAxes(withoutUnitAxis(shape).slice(1))] };
}

/** A value for each row may have an axis of its own: [batch, 1]. */
function withoutUnitAxis(shape: readonly number[]): readonly number[] {
  return shape.length === 2 && shape[1] === 1 ? shape.slice(0, 1) : shape;
}

function namedAxes(shape: readonly number[]): (number | string)[] {
  return shape.map((length, axis) => (length < 0 ? `axis_${axis}` : length));
}

function isFixed(length: number | string): boolean {
  return typeof length === 'number';
}

function axesText(dims: readonly (number | string)[]): string {
  return `[${dims.map((length) => (isFixed(length) ? length : 'any')).join(', ')}]`;
}
