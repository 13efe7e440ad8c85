import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BatchReport } from '../engine/batcher.js';
import { isDenoiser } from '../model/graphNames.js';
import type { GenerateEvent } from '../pipeline/result.js';

const SECONDS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300];

/** The metrics at /metrics, in Prometheus's format. */
export class Metrics {
  readonly registry = new Registry();
  private readonly registers = [this.registry];

  readonly requests = new Counter({
    name: 'srds_requests_total',
    help: 'Answered requests, by route and status',
    labelNames: ['route', 'status'] as const,
    registers: this.registers,
  });
  readonly queueSeconds = this.seconds('srds_queue_seconds', 'Time that requests for images waited in the queue');
  readonly firstPreviewSeconds = this.seconds('srds_first_preview_seconds', 'Time from the start to the coarse image');
  readonly imageSeconds = this.seconds('srds_generation_seconds', 'Time from the start to the last image of a request');
  private readonly evaluations = new Counter({
    name: 'srds_evaluations_total',
    help: 'Evaluations of the network; one at a block boundary is coarse and also serves the first fine step',
    labelNames: ['kind'] as const,
    registers: this.registers,
  });
  private readonly batchRows = this.histogram(
    'srds_batch_rows',
    'Rows of batches of the denoising network',
    [1, 2, 4, 8, 16, 32, 64, 128],
  );
  private readonly iterations = this.histogram(
    'srds_iterations',
    'Iterations of an image',
    [0, 1, 2, 3, 4, 6, 8, 12, 20],
  );
  private readonly residual = this.histogram(
    'srds_residual',
    'Last change of an image in grey levels',
    [0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
  );
  private readonly images = new Counter({
    name: 'srds_images_total',
    help: 'Images, by sampler and final status',
    labelNames: ['sampler', 'status'] as const,
    registers: this.registers,
  });
  private readonly busySeconds = new Counter({
    name: 'srds_device_busy_seconds_total',
    help: 'Time that devices spent inside networks; its rate is their utilization',
    labelNames: ['device'] as const,
    registers: this.registers,
  });

  private readonly deviceRestarts = new Counter({
    name: 'srds_device_restarts_total',
    help: 'Device processes that took the place of one that died or hung',
    labelNames: ['device'] as const,
    registers: this.registers,
  });

  /** @param gauges current values by name; `value` is called whenever the metrics are read */
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

  /** Counts a device process that was replaced. */
  deviceRestart(device: string): void {
    this.deviceRestarts.inc({ device });
  }

  /** Counts a batch of a device. */
  batch({ graph, device, paddedRows, networkMs }: BatchReport): void {
    this.busySeconds.inc({ device }, networkMs / 1000);
    if (isDenoiser(graph)) this.batchRows.observe(paddedRows);
  }

  /** Counts the evaluations and finished images of a run. */
  event(event: GenerateEvent): void {
    if (event.type === 'evaluation') this.evaluations.inc({ kind: event.step === 0 ? 'coarse' : 'fine' });
    if (event.type !== 'image') return;
    const { status, iterations, residuals } = event.result;
    this.images.inc({ sampler: iterations > 0 ? 'parallel' : 'serial', status });
    this.iterations.observe(iterations);
    const last = residuals.at(-1);
    if (last !== undefined) this.residual.observe(last);
  }

  private seconds(name: string, help: string): Histogram {
    return this.histogram(name, help, SECONDS);
  }

  private histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: this.registers });
  }
}
