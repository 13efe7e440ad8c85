import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BatchReport } from '../pipeline/trace.js';

const SECONDS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300];

/** What Prometheus reads at /metrics. */
export class Metrics {
  readonly registry = new Registry();
  private readonly registers = [this.registry];

  readonly requests = new Counter({
    name: 'srds_requests_total',
    help: 'Requests that were answered, by route and status',
    labelNames: ['route', 'status'] as const,
    registers: this.registers,
  });
  readonly queueSeconds = this.seconds('srds_queue_seconds', 'Time that requests for images waited for their turn');
  readonly firstPreviewSeconds = this.seconds('srds_first_preview_seconds', 'Time from a turn to the coarse image');
  readonly imageSeconds = this.seconds('srds_generation_seconds', 'Time from a turn to the last image of a request');
  readonly evaluations = new Counter({
    name: 'srds_evaluations_total',
    help: 'Evaluations of the network; one at a block boundary is coarse and serves the first fine step too',
    labelNames: ['kind'] as const,
    registers: this.registers,
  });
  readonly batchRows = this.histogram('srds_batch_rows', 'Rows of batches of the UNet', [1, 2, 4, 8, 16, 32, 64, 128]);
  readonly iterations = this.histogram('srds_iterations', 'Refinements an image took', [0, 1, 2, 3, 4, 6, 8, 12, 20]);
  readonly residual = this.histogram(
    'srds_residual',
    'Last change of an image in grey levels',
    [0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
  );
  readonly images = new Counter({
    name: 'srds_images_total',
    help: 'Images, by how they ended',
    labelNames: ['sampler', 'status'] as const,
    registers: this.registers,
  });
  readonly busySeconds = new Counter({
    name: 'srds_device_busy_seconds_total',
    help: 'Time that devices spent inside networks; its rate is the busy share',
    labelNames: ['device'] as const,
    registers: this.registers,
  });

  /** @param gauges current values, asked for when they are read */
  constructor(gauges: Readonly<Record<string, { readonly help: string; readonly value: () => number }>>) {
    collectDefaultMetrics({ register: this.registry });
    for (const [name, { help, value }] of Object.entries(gauges)) {
      new Gauge({
        name,
        help,
        registers: this.registers,
        collect() {
          this.set(value());
        },
      });
    }
  }

  batch({ graph, device, paddedRows, networkMs }: BatchReport): void {
    this.busySeconds.inc({ device }, networkMs / 1000);
    if (graph === 'unet') this.batchRows.observe(paddedRows);
  }

  private seconds(name: string, help: string): Histogram {
    return this.histogram(name, help, SECONDS);
  }

  private histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: this.registers });
  }
}
