import { DeviceEngine } from '../engine/deviceEngine.js';
import { deviceName } from '../engine/device.js';
import { floatRows, maxRowsOf, type Engine, type Evaluation } from '../engine/engine.js';
import type { Endpoint } from '../engine/remote/endpoint.js';
import { OipClient, OipError, type OipFailure } from '../engine/remote/oipClient.js';
import type { EndpointOptions } from '../engine/remote/remoteDevice.js';
import { SrdsError } from '../errors.js';
import { exampleInputs } from '../model/exampleInputs.js';
import { graphFiles, type ModelFolder } from '../model/modelFolder.js';
import { networkOf } from '../model/networkInputs.js';
import { float32 } from '../tensor/tensor.js';

/** Timesteps of the compared rows, as shares of the training's. */
const TIMESTEPS = [0.98, 0.5, 0.25, 0.001];
/** Half precision and TF32 differ by less, relative to the largest value; another network by about one. */
const OTHER_NETWORK = 0.05;

/** How to reach an endpoint. */
export interface CompareOptions extends Omit<EndpointOptions, 'graph'> {
  /** Whether Triton should load the model again, since its repository has changed; otherwise only if it is not loaded. */
  readonly reload: boolean;
}

/** Milliseconds that a server may take to load a model and to warm it up. */
const LOAD_MS = 30 * 60_000;

/** How far rows of an endpoint are from those of the CPU here, relative to the largest value of a row. */
export interface Comparison {
  /** Rows that were evaluated one by one. */
  readonly alone: number;
  /** Rows at different timesteps that were evaluated as one batch. */
  readonly batch: number;
  /** Rows of that batch. */
  readonly rows: number;
  /** Whether the server may run an earlier state of its repository, since it loads models by itself only. */
  readonly mayBeStale: boolean;
}

/**
 * Evaluates the network of a model on an endpoint and on the CPU here.
 * @throws SrdsError MODEL_INVALID if the endpoint has another network; DEVICE_UNAVAILABLE, also if it cannot load the model; ENGINE_FAILED
 */
export async function compareEndpoint(
  model: ModelFolder,
  endpoint: Endpoint,
  options: CompareOptions,
  signal: AbortSignal,
): Promise<Comparison> {
  const mayBeStale = !(await isLoaded(endpoint, options, signal)) && options.reload;
  const { graph } = networkOf(model);
  const files = { [graph]: graphFiles(model)[graph] };
  const local = await DeviceEngine.open(files, { signal });
  try {
    const endpoints = { ...options, ...networkOf(model) };
    const remote = await DeviceEngine.open(files, { devices: [endpoint], endpoints, signal });
    try {
      return { ...(await compare(model, graph, { local, remote }, deviceName(endpoint))), mayBeStale };
    } finally {
      await remote.close();
    }
  } finally {
    await local.close();
  }
}

/** Failures that opening the endpoint reports too, with their remedies. */
const REPORTED: readonly OipFailure[] = ['unreachable', 'untrusted'];

/** Has the server load the model if necessary. @returns false where it loads models by itself only */
async function isLoaded(
  endpoint: Endpoint,
  { reload, ...connection }: CompareOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const client = new OipClient(endpoint, connection);
  try {
    return (!reload && (await client.isReady())) || (await client.load({ timeoutMs: LOAD_MS, signal }));
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof OipError)) throw error;
    if (REPORTED.includes(error.failure)) return false;
    const remedy = 'see the log of the server; what it ran before it may still run';
    throw new SrdsError('DEVICE_UNAVAILABLE', `${deviceName(endpoint)} to load its model`, error.message, remedy);
  } finally {
    client.close();
  }
}

async function compare(
  model: ModelFolder,
  graph: string,
  { local, remote }: { readonly local: Engine; readonly remote: Engine },
  name: string,
): Promise<Omit<Comparison, 'mayBeStale'>> {
  const evaluations = evaluationsOf(model, graph, local);
  const expected = await oneByOne(local, evaluations);
  const alone = difference(await oneByOne(remote, evaluations), expected);
  const rows = Math.min(evaluations.length, maxRowsOf(remote, graph));
  const together = floatRows((await remote.run(evaluations.slice(0, rows))).outputs.flat());
  const batch = difference(together, expected.slice(0, rows));
  if (Math.max(alone, batch) <= OTHER_NETWORK) return { alone, batch, rows };
  const found = `rows that differ by ${Math.max(alone, batch).toFixed(2)} of the largest value`;
  throw new SrdsError(
    'MODEL_INVALID',
    `the network of ${model.name} at ${name}`,
    found,
    'export it again, and load it',
  );
}

/** Evaluations of one row each, at different timesteps. */
function evaluationsOf(model: ModelFolder, graph: string, engine: Engine): readonly Evaluation[] {
  const { family, scheduler, size } = model;
  const { inputs = [], outputs = [] } = engine.graphs.get(graph) ?? {};
  const example = exampleInputs(model, size, inputs);
  if (!example) {
    const remedy = 'export the model with Optimum';
    throw new SrdsError('MODEL_INVALID', `widths of the inputs of ${graph}`, 'free axes', remedy);
  }
  const { trainTimesteps } = scheduler.scheduleFor(scheduler.solver ?? 'ddim');
  return TIMESTEPS.map((share) => {
    const timestep = float32(Float32Array.of(family.networkTime(Math.floor(share * trainTimesteps))), []);
    return { graph, output: outputs[0].name, inputs: { ...example, timestep } };
  });
}

async function oneByOne(engine: Engine, evaluations: readonly Evaluation[]): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (const evaluation of evaluations) rows.push(...floatRows((await engine.run([evaluation])).outputs.flat()));
  return rows;
}

/** Largest difference of rows, relative to the largest value of each. */
function difference(rows: readonly Float32Array[], expected: readonly Float32Array[]): number {
  const each = rows.map((row, k) => {
    const largest = expected[k].reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return row.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[k][i])), 0) / largest;
  });
  return Math.max(...each);
}
