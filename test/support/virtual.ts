import type { Batch, BatchResult, Engine } from 'srds/engine';
import { rowsOf } from '../../src/engine/engine.js';
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

/** Devices in virtual time: a batch takes as long as the machine's curve says, and the clock advances when nothing is left to do. */
export class VirtualEngine implements Engine {
  readonly device = 'virtual';
  readonly buckets = [];
  readonly graphs;
  readonly slots: number;
  readonly maxRows: number;
  private readonly clock = new VirtualClock();
  private readonly free: number[];

  constructor(private readonly machine: Machine) {
    const input = (name: string, dims: string[]) => ({ name, type: 'float32', dims });
    const inputs = [input('sample', ['batch', 'one']), input('timestep', ['batch'])];
    this.graphs = new Map([['unet', { inputs, outputs: [input('out', ['batch', 'one'])] }]]);
    this.slots = machine.devices.length;
    this.maxRows = machine.maxRows;
    this.free = machine.devices.map((_, k) => k);
  }

  async run(batch: Batch): Promise<BatchResult> {
    const device = this.free.shift()!;
    const rows = batch.reduce((sum, evaluation) => sum + rowsOf(evaluation), 0);
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
