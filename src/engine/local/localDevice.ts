import { SrdsError } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { GraphFile, GraphInfo } from '../../onnx/graphInfo.js';
import type { Batch, BatchResult, ConditioningId, Evaluation } from '../engine.js';
import { deviceName } from '../device.js';
import { brokenGraph } from '../../onnx/brokenGraph.js';
import { CONTENTS, type SharedChannel } from './sharedChannel.js';
import { DeviceProcess } from './deviceProcess.js';
import type { ProcessSettings, Reply, WireBatch } from './protocol.js';

/** Processes in a row that may die without having run a batch. */
const MAX_DEATHS = 3;

/** Opening a bucket counts for so many batches that wait. */
const OPENING_LOAD = 100;

/** What a process that takes another's place must know. */
export interface State {
  readonly files: Readonly<Record<string, GraphFile>>;
  /** Names of the graphs that are loaded. */
  readonly loaded: ReadonlyMap<string, GraphInfo>;
  readonly registered: ReadonlyMap<ConditioningId, Readonly<Record<string, Tensor>>>;
}

/** A device that outlives its process: one that dies is replaced, and what it was doing is done again. */
export class LocalDevice {
  readonly name: string;
  private process: DeviceProcess;
  private buckets: readonly number[];
  private turn: Promise<unknown> = Promise.resolve();
  private waiting = 0;
  private openings = 0;
  private deaths = 0;
  /** Buckets that its process has opened or is about to. */
  private readonly bucketsOpen = new Set<string>();
  private closed = false;

  constructor(
    private readonly settings: Omit<ProcessSettings, 'channel'>,
    private readonly state: State,
    private readonly onWarning: (message: string) => void,
    name = deviceName(settings.device),
  ) {
    this.name = name;
    this.buckets = settings.buckets;
    this.process = new DeviceProcess(settings);
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  /** Batches that wait or run here; of a device that opens a bucket, which takes a second, more, and of one that is lost most. */
  get load(): number {
    return this.lost ? Infinity : this.waiting + OPENING_LOAD * this.openings;
  }

  /** Whether it has been given up. */
  get lost(): boolean {
    return this.closed || this.deaths >= MAX_DEATHS;
  }

  /** Sizes of its batches; none where any will do. */
  get batchSizes(): readonly number[] {
    return this.buckets;
  }

  /** @throws SrdsError MODEL_INVALID, ENGINE_FAILED */
  async loadGraphs(names: readonly string[]): Promise<Readonly<Record<string, GraphInfo>>> {
    await this.revive();
    return this.open(names);
  }

  async unload(graphs: readonly string[]): Promise<void> {
    this.bucketsOpen.clear();
    await this.process.ask({ kind: 'unload', graphs });
  }

  register(id: ConditioningId, inputs: Readonly<Record<string, Tensor>>): void {
    this.process.tell({ kind: 'register', id, inputs });
  }

  release(id: ConditioningId): void {
    this.process.tell({ kind: 'release', id });
  }

  /**
   * Runs a batch, again if the process dies meanwhile and the batch is still wanted.
   * @throws SrdsError ENGINE_FAILED if it cannot be run, or if process after process dies
   */
  run(batch: Batch, isWanted: () => boolean): Promise<BatchResult> {
    this.waiting++;
    return this.inTurn(batch, isWanted).finally(() => this.waiting--);
  }

  /** Whether a batch's bucket is open, or about to be; where there are no buckets, it is. */
  hasBucketFor(batch: Batch): boolean {
    return this.buckets.length === 0 || this.bucketsOpen.has(this.bucketKey(batch));
  }

  /** Runs the first batch of a bucket. @throws SrdsError as `run` does */
  async openBucket(batch: Batch, isWanted: () => boolean): Promise<BatchResult> {
    const bucket = this.bucketKey(batch);
    this.bucketsOpen.add(bucket);
    this.openings++;
    try {
      return await this.inTurn(batch, isWanted);
    } catch (error) {
      this.bucketsOpen.delete(bucket);
      throw error;
    } finally {
      this.openings--;
    }
  }

  private inTurn(batch: Batch, isWanted: () => boolean): Promise<BatchResult> {
    // The channel holds one batch.
    const result = this.turn.then(() => this.attempt(batch, isWanted));
    this.turn = result.catch(() => undefined);
    return result;
  }

  private bucketKey(batch: Batch): string {
    const [{ graph, output, inputs }] = batch;
    const rows = batch.reduce((sum, evaluation) => sum + rowsOf(evaluation), 0);
    const bucket = this.buckets.find((size) => size >= rows) ?? this.buckets.at(-1);
    return JSON.stringify([graph, output, bucket, Object.values(inputs).map(({ dims }) => dims)]);
  }

  /** When the batches that wait or run now have ended. */
  async idle(): Promise<void> {
    await this.turn;
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.process.close();
  }

  private async attempt(batch: Batch, isWanted: () => boolean): Promise<BatchResult> {
    for (;;) {
      try {
        await this.revive();
        const { process } = this;
        const { wire, end } = put(batch, process.channel);
        const reply = await process.run(wire, end);
        this.deaths = 0;
        return this.received(reply, batch, process.channel);
      } catch (error) {
        if (!this.process.death || this.lost) throw error;
        if (++this.deaths >= MAX_DEATHS) throw this.givenUp(this.process.death);
        if (!isWanted()) throw this.process.death;
      }
    }
  }

  private givenUp({ found }: SrdsError): SrdsError {
    const remedy = 'run again, with a smaller --size, --n or --buckets if memory is short, or on another --device';
    const last = `${MAX_DEATHS} that died one after the other, the last: ${found}`;
    return new SrdsError('ENGINE_FAILED', `a process on ${this.name} that lives`, last, remedy);
  }

  /** Puts a process in the place of one that is dead. */
  private async revive(): Promise<void> {
    if (!this.process.death) return;
    if (this.lost) throw this.process.death;
    this.onWarning(`the ${this.name} process failed, found ${this.process.death.found}; another takes its place`);
    this.process = new DeviceProcess(this.settings);
    this.bucketsOpen.clear();
    await this.open([...this.state.loaded.keys()]);
    for (const [id, inputs] of this.state.registered) this.register(id, inputs);
  }

  private async open(names: readonly string[]): Promise<Readonly<Record<string, GraphInfo>>> {
    const graphs = Object.fromEntries(names.map((name) => [name, this.state.files[name]]));
    return loadedOf(await this.process.ask({ kind: 'load', graphs }), graphs);
  }

  private received(reply: Reply, batch: Batch, channel: SharedChannel): BatchResult {
    if (reply.kind !== 'done') {
      throw new SrdsError(
        'ENGINE_FAILED',
        `graph ${batch[0].graph} to run on ${this.name}`,
        reply.kind === 'failed' ? reply.message : reply.kind,
        'if the size suits the model and its memory, report this as a defect',
      );
    }
    if (reply.buckets) {
      this.buckets = reply.buckets;
      this.bucketsOpen.clear();
      this.onWarning(
        `${this.name} has no memory for larger batches than ${this.buckets.at(-1)} rows; it goes on with those`,
      );
    }
    const outputs = batch.map((evaluation) => Array.from({ length: rowsOf(evaluation) }, () => unwritten(reply.size)));
    channel.read(outputs.flat(), CONTENTS);
    return { outputs, seconds: reply.seconds, rows: reply.rows, device: this.name };
  }
}

/** Numbers that are about to be overwritten: zeros first would take as long again. */
function unwritten(length: number): Float32Array {
  return new Float32Array(Buffer.allocUnsafeSlow(length * Float32Array.BYTES_PER_ELEMENT).buffer);
}

function rowsOf({ conditioning }: Evaluation): number {
  return conditioning?.length ?? 1;
}

/** Puts a batch's tensors into the channel. @throws SrdsError ENGINE_FAILED if they differ in shape */
function put(batch: Batch, channel: SharedChannel): { readonly wire: WireBatch; readonly end: number } {
  let end = CONTENTS;
  const inputs = Object.entries(batch[0].inputs).map(([name, { type, dims }]) => {
    const at = end;
    const shape = dims.join();
    const rows = batch.map(({ inputs }) => {
      const tensor = (inputs as Readonly<Partial<Record<string, Tensor>>>)[name];
      if (tensor?.type !== type || tensor.dims.join() !== shape) throw differ(name);
      return tensor.data;
    });
    end = channel.write(rows, at);
    return { name, type, dims, at };
  });
  const [{ graph, output }] = batch;
  const wire: WireBatch = {
    graph,
    output,
    inputs,
    conditioning: batch.map(({ conditioning }) => conditioning ?? null),
  };
  return { wire, end };
}

function differ(name: string): SrdsError {
  const expected = 'evaluations of a batch that are alike';
  return new SrdsError('ENGINE_FAILED', expected, `rows of ${name} differ in shape`, 'report this as a defect');
}

function loadedOf(reply: Reply, files: Readonly<Record<string, GraphFile>>): Readonly<Record<string, GraphInfo>> {
  if (reply.kind === 'loaded') return reply.graphs;
  const [file, why] = reply.kind === 'unloadable' ? [files[reply.graph].path, reply.message] : ['a graph', reply.kind];
  throw brokenGraph(file, why);
}
