/**
 * The device process: ONNX Runtime's calls block the thread that makes them, so they have a process of their own.
 * It ends when its parent goes away.
 */
import { messageOf } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ConditioningId, GraphInfo } from '../engine.js';
import { Graph } from './graph.js';
import { Mailbox } from './mailbox.js';
import { Vigil } from './vigil.js';
import { tryProviders } from './providers.js';
import type { Notice, Numbered, ProcessSettings, Question, Reply } from './protocol.js';

const settings = JSON.parse(process.argv[2]) as ProcessSettings;
const mailbox = Mailbox.open(settings.mailbox);
mailbox.remove();

/** How long the next batch is waited for without sleep, on GPUs. */
const VIGIL_MS = 10;

const vigil = settings.device.kind === 'cpu' ? undefined : new Vigil();
const graphs = new Map<string, Graph>();
const registered = new Map<ConditioningId, Readonly<Record<string, Tensor>>>();

async function load(request: Extract<Question, { kind: 'load' }>): Promise<Reply> {
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

async function run({ batch }: Extract<Question, { kind: 'run' }>): Promise<Reply> {
  try {
    const graph = graphs.get(batch.graph);
    if (!graph) throw new Error(`no graph ${batch.graph}`);
    const done = await graph.run(batch, registered, mailbox);
    vigil?.keep(VIGIL_MS);
    return { kind: 'done', ...done };
  } catch (error) {
    return { kind: 'failed', message: messageOf(error) };
  }
}

async function probe(): Promise<Reply> {
  try {
    await tryProviders(settings.device);
    return { kind: 'works' };
  } catch (error) {
    return { kind: 'failed', message: messageOf(error) };
  }
}

function answer({ number }: Numbered<Question>, reply: Promise<Reply>): void {
  void reply.then((value) => process.send?.({ ...value, number } satisfies Numbered<Reply>));
}

process.on('message', (request: Numbered<Question> | Notice) => {
  switch (request.kind) {
    case 'load':
      return answer(request, load(request));
    case 'unload':
      return answer(request, unload(request.graphs));
    case 'run':
      return answer(request, run(request));
    case 'probe':
      return answer(request, probe());
    case 'register':
      return void registered.set(request.id, request.inputs);
    case 'release':
      return void registered.delete(request.id);
  }
});
process.on('disconnect', () => process.exit());
// Ctrl-C reaches the whole process group; the parent decides what it means.
process.on('SIGINT', () => undefined);
