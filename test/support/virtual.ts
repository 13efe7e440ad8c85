import type { Batch, Batcher, BatchResult, Engine } from 'srds/engine';
import { batchRows, rowsOf } from '../../src/engine/engine.js';
import { networkDenoiser } from 'srds/model';
import { latency, type Machine } from 'srds/planner';
import { VirtualClock } from './virtualClock.js';

/**
 * The rows of a batch: each is a function of its sample and timestep, steep enough that no sampler converges on it in float32 by accident.
 * The rows of an evaluation are equal, so that guidance changes nothing.
 */
export function sines(batch: Batch): BatchResult['outputs'] {
  return batch.map((evaluation) => {
    const { inputs } = evaluation;
    const [x, t] = [Number(inputs.sample.data[0]), Number(inputs.timestep.data[0])];
    const output = Math.sin(7 * x + t);
    return Array.from({ length: rowsOf(evaluation) }, () => Float32Array.of(output));
  });
}

/** An engine whose network is that of `sines`. */
export abstract class VirtualNetwork implements Omit<Engine, 'device'> {
  readonly buckets = [];
  readonly graphs;
  abstract readonly slots: number;
  abstract readonly maxRows: number;

  constructor() {
    const input = (name: string, dims: string[]) => ({ name, type: 'float32', dims });
    const inputs = [input('sample', ['batch', 'one']), input('timestep', ['batch'])];
    this.graphs = new Map([['unet', { inputs, outputs: [input('out', ['batch', 'one'])] }]]);
  }

  abstract run(batch: Batch): Promise<BatchResult>;

  load(): Promise<void> {
    return Promise.resolve();
  }
  unload(): Promise<void> {
    return Promise.resolve();
  }
  register(): string {
    return 'registered';
  }
  release(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A denoiser on the network of `sines`, with guidance that changes nothing. @param image index of the image */
export function virtualDenoiser(
  batcher: Batcher,
  image = 0,
  options: Partial<Parameters<typeof networkDenoiser>[0]> = {},
): ReturnType<typeof networkDenoiser> {
  return networkDenoiser({
    batcher,
    graph: 'unet',
    output: 'out',
    dims: [1],
    predictionType: 'sample',
    conditional: 'a',
    unconditional: 'b',
    guidance: 1,
    priority: [image],
    client: {},
    ...options,
  });
}

/** Devices in virtual time: a batch takes as long as the machine's curve says, and the clock advances when nothing is left to do. */
export class VirtualEngine extends VirtualNetwork implements Engine {
  readonly device = 'virtual';
  readonly slots: number;
  readonly maxRows: number;
  private readonly clock = new VirtualClock();
  private readonly free: number[];

  constructor(private readonly machine: Machine) {
    super();
    this.slots = machine.devices.length;
    this.maxRows = machine.maxRows;
    this.free = machine.devices.map((_, k) => k);
  }

  async run(batch: Batch): Promise<BatchResult> {
    const device = this.free.shift()!;
    const rows = batchRows(batch);
    const seconds = latency(this.machine.devices[device], rows);
    await this.clock.wait(1000 * seconds);
    this.free.push(device);
    return { outputs: sines(batch), seconds, rows, device: `virtual:${device}` };
  }

  get now(): number {
    return this.clock.now() / 1000;
  }

  /** Runs until something is done. @returns what it came to */
  until<Value>(work: Promise<Value>): Promise<Value> {
    return this.clock.until(work);
  }
}
