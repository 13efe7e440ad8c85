import type { Batch, BatchResult, Engine } from 'srds/engine';
import { rowsOf } from '../../src/engine/engine.js';
import { latency, type Machine } from 'srds/planner';

/**
 * Devices in virtual time: a batch takes as long as the machine's curve says, and the clock advances when nothing is left to do.
 * Each row returns a function of its sample and timestep, steep enough that no sampler converges on it in float32 by accident.
 */
export class VirtualEngine implements Engine {
  readonly device = 'virtual';
  readonly buckets = [];
  readonly graphs;
  readonly slots: number;
  readonly maxRows: number;
  now = 0;
  private readonly free: number[];
  private readonly running: { readonly at: number; readonly end: () => void }[] = [];

  constructor(private readonly machine: Machine) {
    const input = (name: string, dims: string[]) => ({ name, type: 'float32', dims });
    const inputs = [input('sample', ['batch', 'one']), input('timestep', ['batch'])];
    this.graphs = new Map([['unet', { inputs, outputs: [input('out', ['batch', 'one'])] }]]);
    this.slots = machine.devices.length;
    this.maxRows = machine.maxRows;
    this.free = machine.devices.map((_, k) => k);
  }

  run(batch: Batch): Promise<BatchResult> {
    const device = this.free.shift()!;
    const rows = batch.reduce((sum, evaluation) => sum + rowsOf(evaluation), 0);
    const seconds = latency(this.machine.devices[device], rows);
    // The rows of an evaluation are equal, so that guidance changes nothing.
    const outputs = batch.map((evaluation) => {
      const { inputs } = evaluation;
      const [x, t] = [Number(inputs.sample.data[0]), Number(inputs.timestep.data[0])];
      const output = Math.sin(7 * x + t);
      return Array.from({ length: rowsOf(evaluation) }, () => Float32Array.of(output));
    });
    return new Promise((resolve) => {
      const end = () => {
        this.free.push(device);
        resolve({ outputs, seconds, rows, device: `virtual:${device}` });
      };
      this.running.push({ at: this.now + seconds, end });
    });
  }

  /** Runs until something is done. @returns what it came to */
  async until<Value>(work: Promise<Value>): Promise<Value> {
    const state = { done: false };
    void work.finally(() => (state.done = true)).catch(() => undefined);
    for (;;) {
      for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (state.done) return work;
      this.running.sort((a, b) => a.at - b.at);
      const next = this.running.at(0);
      if (!next) throw new Error('nothing runs and nothing is done');
      this.now = next.at;
      while (this.running.length > 0 && this.running[0].at === next.at) this.running.shift()!.end();
    }
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
