import type { BatchReport, Client } from '../engine/batcher.js';
import type { GenerateEvent } from './result.js';

/** Sends the batches of a pipeline as events to the runs whose evaluations they contain. */
export class BatchEvents {
  private readonly listeners = new Map<Client, (event: GenerateEvent) => void>();
  /** Number of batches so far. */
  count = 0;
  /** Number of runs that have begun so far. */
  begun = 0;

  add(client: Client, emit: (event: GenerateEvent) => void): void {
    this.listeners.set(client, emit);
    this.begun++;
  }

  remove(client: Client): void {
    this.listeners.delete(client);
  }

  /** Number of runs that are under way. */
  get runs(): number {
    return this.listeners.size;
  }

  report({ requests, device, begin, end, paddedRows }: BatchReport): void {
    this.count++;
    for (const client of new Set(requests.map((request) => request.client))) {
      const evaluations = requests.filter((request) => request.client === client).map(({ priority }) => priority);
      this.listeners.get(client)?.({ type: 'batch', device, begin, end, rows: paddedRows, evaluations });
    }
  }
}
