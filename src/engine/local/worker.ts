/**
 * The main module of a device process. ONNX Runtime's calls block the calling thread, so each device has a process of its own.
 * The process ends when its parent disconnects or ends.
 */
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { messageOf } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import { ForeignOperators, lacksKernel, RefusedOperator } from '../../onnx/foreignOperators.js';
import type { GraphInfo } from '../../onnx/graphInfo.js';
import type { ConditioningId } from '../engine.js';
import type { CustomOperators } from '../cuda/kernels/customOperators.js';
import { GpuKernels } from '../cuda/kernels/gpuKernels.js';
import { OrtApi } from '../cuda/ortApi.js';
import { OrtSession } from '../cuda/ortSession.js';
import { BucketPool } from './bucketPool.js';
import { GraphSessions } from './graphSessions.js';
import { loadMemoryMap } from './memoryMap.js';
import { isDeviceFault, isOfGraph, isOutOfMemory } from './session.js';
import { CONTENT_START, SharedChannel } from './sharedChannel.js';
import { SpinPoller } from './spinPoller.js';
import { addition, kernelAddition, tryProviders } from './providers.js';
import { NO_HEARTBEAT } from './watchdog.js';
import type { Wake, Notification, Numbered, RunBatch, ProcessSettings, Request, Reply, Slower } from './protocol.js';

// Collects garbage less often: the parent waits meanwhile, and large data is outside V8's heap.
setFlagsFromString('--heap-growing-percent=400');

const settings = JSON.parse(process.argv[2]) as ProcessSettings;
const channel = SharedChannel.open(settings.channel);
channel.remove();
// Without memory for a thread, the process works without heartbeats.
new Worker(new URL('./heartbeat.js', import.meta.url), { workerData: channel.fd })
  .on('error', () => SharedChannel.putHeartbeat(channel.fd, NO_HEARTBEAT))
  .unref();
if (settings.cApi) {
  const map = await loadMemoryMap();
  if (map) channel.mapWith(map);
}

/** How long to poll for the next batch without sleeping, on GPUs, in milliseconds. */
const SPIN_MS = 10;

let running = false;
const poller = new SpinPoller(
  channel,
  (message) => accept(message as Numbered<RunBatch>),
  () => !running,
);
const graphs = new Map<string, GraphSessions>();
const buckets = new BucketPool();
const registered = new Map<ConditioningId, Readonly<Record<string, Tensor>>>();
let notifications = 0;
/** A batch that arrived before the notifications that precede it. */
let deferred: Numbered<RunBatch> | undefined;

const hasKernels = settings.device.kind === 'cuda' && (settings.kernels ?? true);
/** ONNX Runtime's C API, or what plain sessions do without; neither if it was not asked for. */
const cApi: Promise<{ readonly api?: OrtApi; readonly kernels?: GpuKernels; readonly slower?: Slower }> = settings.cApi
  ? OrtApi.load().then(
      (api) => ({
        api,
        ...(hasKernels && { kernels: new GpuKernels(api, settings.device.index) }),
      }),
      (error: unknown) => ({ slower: withoutGraphs(error) }),
    )
  : Promise.resolve({});

async function load(request: Extract<Request, { kind: 'load' }>): Promise<Reply> {
  const loaded: Record<string, GraphInfo> = {};
  const { api, kernels, slower } = await cApi;
  for (const [name, file] of Object.entries(request.graphs)) {
    try {
      const graph = await GraphSessions.open(file, settings, buckets, api, kernels);
      graphs.set(name, graph);
      loaded[name] = graph.info;
    } catch (error) {
      // All or none: the parent would not know that the others stay in memory.
      await unload(Object.keys(request.graphs));
      const message = messageOf(error);
      const isForeign = error instanceof ForeignOperators || lacksKernel(message);
      return { kind: 'unloadable', graph: name, message, isForeign };
    }
  }
  const isReplayed = Object.values(request.graphs).some(({ replayed = false }) => replayed);
  const ofGraphs = Object.keys(loaded).map((name) => graphs.get(name)?.slower);
  return { kind: 'loaded', graphs: loaded, slower: isReplayed ? (slower ?? ofGraphs.find(Boolean)) : undefined };
}

async function unload(names: readonly string[]): Promise<Reply> {
  for (const name of names) {
    await graphs.get(name)?.close();
    graphs.delete(name);
  }
  return { kind: 'unloaded' };
}

/** Runs a batch and sends the reply over the channel. */
async function run({ batch, number }: Numbered<RunBatch>): Promise<void> {
  const send = (reply: Reply, end: number) => {
    if (channel.send({ ...reply, number }, end)) process.send?.({ kind: 'wake' } satisfies Wake);
  };
  try {
    const graph = graphs.get(batch.graph);
    if (!graph) throw new Error(`no graph ${batch.graph}`);
    const { end, ...done } = await graph.run(batch, registered, channel);
    send({ kind: 'done', ...done }, end);
  } catch (error) {
    const kinds = {
      outOfMemory: isOutOfMemory(error),
      isOfGraph: isOfGraph(error),
      isRefused: error instanceof RefusedOperator,
      isDeviceFault: isDeviceFault(error),
    };
    send({ kind: 'failed', message: messageOf(error), ...kinds }, CONTENT_START);
  }
  if (settings.device.kind !== 'cpu') poller.spin(SPIN_MS);
}

/** Runs a batch, once the notifications that precede it have arrived. */
function accept(message: Numbered<RunBatch>): void {
  deferred = message.notifications > notifications ? message : undefined;
  if (deferred) return;
  running = true;
  void run(message).finally(() => (running = false));
}

function countNotification(): void {
  notifications++;
  if (deferred) accept(deferred);
}

async function probe(): Promise<Reply> {
  try {
    await tryProviders(settings.device);
    return { kind: 'works', slower: await tryCApi() };
  } catch (error) {
    return { kind: 'failed', message: messageOf(error) };
  }
}

/** Runs a graph over the C API, and one in this package's kernels. @returns what does not work */
async function tryCApi(): Promise<Slower | undefined> {
  const { api, kernels, slower } = await cApi;
  if (!api) return slower;
  try {
    await tryAddition(api, addition());
  } catch (error) {
    return withoutGraphs(error);
  }
  try {
    if (kernels) await tryAddition(api, kernelAddition(), kernels.operators());
    return undefined;
  } catch (error) {
    return { without: 'fused kernels', why: messageOf(error) };
  }
}

/** Runs a graph of y = x + x twice, so that on CUDA the second run replays the first. */
async function tryAddition(api: OrtApi, graph: Uint8Array, operators?: CustomOperators): Promise<void> {
  const session = OrtSession.open(api, graph, { ...settings, weights: undefined, operators });
  try {
    const x = session.allocate('x', 'float32', [2]) as Float32Array;
    for (const value of [2, 3]) {
      x.fill(value);
      const [sum] = await session.run('y', new Set(['x']));
      if (sum !== 2 * value) throw new Error(`${value} + ${value} gave ${sum}`);
    }
  } finally {
    await session.close();
  }
}

function withoutGraphs(error: unknown): Slower {
  return { without: 'CUDA graphs', why: messageOf(error) };
}

function respond({ number }: Numbered<Request>, reply: Promise<Reply>): void {
  void reply.then((value) => process.send?.({ ...value, number } satisfies Numbered<Reply>));
}

process.on('message', (request: Numbered<Request> | Notification | Wake) => {
  switch (request.kind) {
    case 'load':
      return respond(request, load(request));
    case 'unload':
      return respond(request, unload(request.graphs));
    case 'probe':
      return respond(request, probe());
    case 'register':
      registered.set(request.id, request.inputs);
      return countNotification();
    case 'release':
      registered.delete(request.id);
      return countNotification();
    case 'wake':
      return void poller.poll();
  }
});
process.on('disconnect', () => process.exit());
// A terminal sends these to the whole process group. The parent handles them, and this process ends with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
