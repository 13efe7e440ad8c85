/**
 * The device process: ONNX Runtime's calls block the thread that makes them, so they have a process of their own.
 * It ends when its parent goes away.
 */
import { setFlagsFromString } from 'node:v8';
import { messageOf } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { GraphInfo } from '../../onnx/graphInfo.js';
import type { ConditioningId } from '../engine.js';
import { Graph } from './graph.js';
import { CONTENTS, SharedChannel } from './sharedChannel.js';
import { SpinPoller } from './spinPoller.js';
import { tryProviders } from './providers.js';
import type { Wake, Notification, Numbered, RunBatch, ProcessSettings, Request, Reply } from './protocol.js';

// Garbage is looked for less often: the parent waits meanwhile, and what is worth it lies outside V8's heap.
setFlagsFromString('--heap-growing-percent=400');

const settings = JSON.parse(process.argv[2]) as ProcessSettings;
const channel = SharedChannel.open(settings.channel);
channel.remove();

/** How long the next batch is waited for without sleep, on GPUs. */
const SPIN_MS = 10;

let running = false;
const poller = new SpinPoller(
  channel,
  (letter) => follow(letter as Numbered<RunBatch>),
  () => !running,
);
const graphs = new Map<string, Graph>();
const registered = new Map<ConditioningId, Readonly<Record<string, Tensor>>>();
let notices = 0;
/** An order that has come before the notices that it needs. */
let early: Numbered<RunBatch> | undefined;

async function load(request: Extract<Request, { kind: 'load' }>): Promise<Reply> {
  const loaded: Record<string, GraphInfo> = {};
  for (const [name, file] of Object.entries(request.graphs)) {
    try {
      const graph = await Graph.open(file, settings);
      graphs.set(name, graph);
      loaded[name] = graph.info;
    } catch (error) {
      // All or none: the others would stay in memory and no one would know.
      await unload(Object.keys(request.graphs));
      return { kind: 'unloadable', graph: name, message: messageOf(error) };
    }
  }
  return { kind: 'loaded', graphs: loaded };
}

async function unload(names: readonly string[]): Promise<Reply> {
  for (const name of names) {
    await graphs.get(name)?.close();
    graphs.delete(name);
  }
  return { kind: 'unloaded' };
}

/** Runs a batch and sends the reply by the channel. */
async function run({ batch, number }: Numbered<RunBatch>): Promise<void> {
  const reply = (answer: Reply, end: number) => {
    if (channel.send({ ...answer, number }, end)) process.send?.({ kind: 'knock' } satisfies Wake);
  };
  try {
    const graph = graphs.get(batch.graph);
    if (!graph) throw new Error(`no graph ${batch.graph}`);
    const { end, ...done } = await graph.run(batch, registered, channel);
    reply({ kind: 'done', ...done }, end);
  } catch (error) {
    reply({ kind: 'failed', message: messageOf(error) }, CONTENTS);
  }
  if (settings.device.kind !== 'cpu') poller.spin(SPIN_MS);
}

function follow(order: Numbered<RunBatch>): void {
  early = order.notices > notices ? order : undefined;
  if (early) return;
  running = true;
  void run(order).finally(() => (running = false));
}

function noticed(): void {
  notices++;
  if (early) follow(early);
}

async function probe(): Promise<Reply> {
  try {
    await tryProviders(settings.device);
    return { kind: 'works' };
  } catch (error) {
    return { kind: 'failed', message: messageOf(error) };
  }
}

function answer({ number }: Numbered<Request>, reply: Promise<Reply>): void {
  void reply.then((value) => process.send?.({ ...value, number } satisfies Numbered<Reply>));
}

process.on('message', (request: Numbered<Request> | Notification | Wake) => {
  switch (request.kind) {
    case 'load':
      return answer(request, load(request));
    case 'unload':
      return answer(request, unload(request.graphs));
    case 'probe':
      return answer(request, probe());
    case 'register':
      registered.set(request.id, request.inputs);
      return noticed();
    case 'release':
      registered.delete(request.id);
      return noticed();
    case 'knock':
      return void poller.poll();
  }
});
process.on('disconnect', () => process.exit());
// These may reach a whole group of processes; the parent decides what they mean, and this one ends when it does.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
