import { z } from 'zod';
import type { BatchReport } from '../engine/batcher.js';
import { issueOf, SrdsError } from '../errors.js';
import { isDenoiser } from '../model/graphNames.js';
import type { GenerateEvent } from './result.js';

export type { BatchReport };

/** Content of a trace file; times are milliseconds from the start of sampling. */
const traceFile = z.object({
  format: z.literal('srds trace 2'),
  title: z.string(),
  batches: z.array(
    z.object({
      graph: z.string(),
      device: z.string(),
      begin: z.number(),
      end: z.number(),
      /** Milliseconds inside the network. */
      network: z.number(),
      rows: z.int(),
      /** Rows including the padding of the bucket. */
      paddedRows: z.int(),
      /** Each as iteration, block, step, stage, image. */
      evaluations: z.array(z.array(z.number())),
    }),
  ),
  iterations: z.array(
    z.object({
      image: z.int(),
      iteration: z.int(),
      at: z.number(),
      residual: z.number().nullable(),
      critical: z.int(),
    }),
  ),
});

/** When each evaluation ran, and in which batch. */
export type Trace = z.infer<typeof traceFile>;

/** Records a trace of a run. */
export class TraceRecorder {
  private start: number | undefined;
  private readonly batches: Trace['batches'] = [];
  private readonly iterations: Trace['iterations'] = [];
  private finished = 0;

  /** @param images number of images of the run; later batches, such as those of a comparison, are ignored */
  constructor(private readonly images = 1) {}

  /** Pass this to the pipeline as `onBatch`. */
  readonly batch = (report: BatchReport): void => {
    const { graph, device, networkMs, rows, paddedRows } = report;
    if (this.finished === this.images) return;
    if (!isDenoiser(graph)) {
      if (this.start === undefined) return;
    } else this.start ??= report.begin;
    const [begin, end] = [report.begin - this.start, report.end - this.start];
    const evaluations = report.requests.map(({ priority }) => [...priority]);
    this.batches.push({ graph, device, begin, end, network: networkMs, rows, paddedRows, evaluations });
  };

  event(event: GenerateEvent): void {
    if (event.type === 'image') this.finished++;
    if (event.type !== 'iteration') return;
    const { image, iteration, residual = null, evaluations } = event;
    const at = performance.now() - (this.start ?? performance.now());
    this.iterations.push({ image, iteration, at, residual, critical: evaluations.critical });
  }

  /** @param title description for people, such as the prompt */
  trace(title: string): Trace {
    return { format: 'srds trace 2', title, batches: this.batches, iterations: this.iterations };
  }
}

/**
 * Reads a trace.
 * @param source name of the text's origin, for the error
 * @throws SrdsError INVALID_OPTION if the text is no trace
 */
export function parseTrace(text: string, source: string): Trace {
  const remedy = 'give a file that srds generate --trace has written';
  try {
    return traceFile.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? issueOf(error.issues[0]) : 'no JSON';
    throw new SrdsError('INVALID_OPTION', `a trace in ${source}`, why, remedy);
  }
}
