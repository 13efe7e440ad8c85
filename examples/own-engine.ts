// An engine of your own: a network in JavaScript, in this process. It runs the conformance suite for engines.
import { engineConformance } from 'srds/conformance';
import { SrdsError } from 'srds';
import type { Batch, BatchResult, ConditioningId, Engine, Evaluation, GraphInfo } from 'srds/engine';
import { float32, type Tensor } from 'srds/tensor';

type Inputs = Readonly<Record<string, Tensor>>;

const UNET: GraphInfo = {
  inputs: [
    { name: 'sample', type: 'float32', dims: ['batch', 2] },
    { name: 'timestep', type: 'float32', dims: ['batch'] },
    { name: 'prompt', type: 'float32', dims: ['batch', 2] },
  ],
  outputs: [{ name: 'out_sample', type: 'float32', dims: ['batch', 2] }],
};

/** One row of the network: its output for the inputs of the row. */
function network({ sample, timestep, prompt }: Inputs): Float32Array {
  const t = Number(timestep.data[0]);
  const output = (k: number) => Math.sin(Number(sample.data[k]) + t) * Number(prompt.data[k]);
  return Float32Array.from({ length: sample.data.length }, (_, k) => output(k));
}

class JavaScriptEngine implements Engine {
  readonly device = 'javascript';
  readonly graphs: ReadonlyMap<string, GraphInfo> = new Map([['unet', UNET]]);
  readonly slots = 1;
  readonly maxRows = 64;
  /** Any batch size will do. */
  readonly buckets: readonly number[] = [];
  private readonly registered = new Map<ConditioningId, Inputs>();
  private closed = false;
  private count = 0;

  async load(): Promise<void> {}

  async unload(): Promise<void> {}

  register(inputs: Inputs): ConditioningId {
    const id = `inputs-${this.count++}`;
    this.registered.set(id, inputs);
    return id;
  }

  release(id: ConditioningId): void {
    this.registered.delete(id);
  }

  async run(batch: Batch): Promise<BatchResult> {
    const begin = performance.now();
    const outputs = batch.map((evaluation) => this.rowsOf(evaluation).map(network));
    const seconds = (performance.now() - begin) / 1000;
    return { outputs, seconds, rows: outputs.flat().length, device: this.device };
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  /** The inputs of each row: the evaluation's own, and those that are registered. */
  private rowsOf({ graph, inputs, conditioning }: Evaluation): readonly Inputs[] {
    if (this.closed) throw failed('an open engine', 'a closed one');
    if (!this.graphs.has(graph)) throw failed('a known graph', graph);
    if (!conditioning) return [inputs];
    return conditioning.map((id) => {
      const others = this.registered.get(id);
      if (!others) throw failed('registered inputs', id);
      return { ...inputs, ...others };
    });
  }
}

function failed(expected: string, found: string): SrdsError {
  return new SrdsError('ENGINE_FAILED', expected, found, 'report this as a defect');
}

const evaluation = (a: number, b: number): Evaluation => ({
  graph: 'unet',
  output: 'out_sample',
  inputs: { sample: float32(Float32Array.of(a, b), [2]), timestep: float32(Float32Array.of(10 * a), []) },
});
const prompt = (a: number, b: number): Inputs => ({ prompt: float32(Float32Array.of(a, b), [2]) });

const checks = engineConformance({
  name: 'javascript',
  open: async () => new JavaScriptEngine(),
  evaluations: [evaluation(0.1, -0.4), evaluation(0.7, 0.2)],
  conditioning: [prompt(1, 2), prompt(-1, 0.5)],
});
for (const { name, run } of checks) {
  await run();
  console.log(`passed: ${name}`);
}
