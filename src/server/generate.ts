import type { GeneratedImage, GenerateEvent, GenerateResult } from '../pipeline/result.js';
import { SrdsError } from '../errors.js';
import { settingsOf, type GenerateOptions } from '../pipeline/options.js';
import { SOLVERS, type SolverName } from '../solver/registry.js';
import type { ModelFolder } from '../model/modelFolder.js';
import { ApiError, clientGone, deadlineExceeded, shuttingDown } from './apiError.js';
import type { Models, ServedModel } from './models.js';
import type { Progress, Services } from './services.js';

/** Images that are asked for. */
export interface GenerateJob {
  /** Of the request, for the log. */
  readonly id: string;
  readonly model: string | undefined;
  readonly options: GenerateOptions;
  /** The image to start from: read when the turn has come, since pixels take much more memory than files. */
  readonly init?: () => Promise<Pick<GenerateOptions, 'init' | 'strength'>>;
  /** Who asks: the name of an API key. */
  readonly key: string;
  readonly priority: number;
  /** After which the request is given up. */
  readonly deadlineSeconds: number;
  /** Aborted when the client goes away. */
  readonly client: AbortSignal;
}

/** What happens to an order: it was taken, its turn has come, and what happens while it is drawn. */
export type GenerateJobEvent =
  | { readonly type: 'queued'; readonly waiting: number }
  | { readonly type: 'started'; readonly model: ModelFolder; readonly queueSeconds: number }
  | GenerateEvent;

/** What became of an order. */
export interface GenerationResult {
  readonly model: ModelFolder;
  readonly result: GenerateResult;
  /** What was asked for in vain, and what else is to be known. */
  readonly warnings: readonly string[];
  /** Finished ones, each with its pixels. */
  readonly images: readonly (GeneratedImage & { readonly rgb: NonNullable<GeneratedImage['rgb']> })[];
}

/**
 * Draws in its turn. Whoever goes away, waits too long or asks a server that is being ended gives up its place, or what is being
 * drawn, within an evaluation.
 * @throws ApiError 400, 404, 429, 499, 503, 504; SrdsError as Pipeline.generate does
 */
export async function generate(
  services: Services,
  order: GenerateJob,
  onEvent: (event: GenerateJobEvent) => void,
): Promise<GenerationResult> {
  const { models, queue, metrics, config, log } = services;
  if (services.draining()) throw shuttingDown();
  const model = models.find(order.model);
  // What cannot be drawn need not wait.
  checkSize(order.options, model.folder, config.maxPixels);
  const limit = new Limit(services.stop, order);
  const { signal } = limit;
  const arrived = performance.now();
  try {
    const turn = queue.enter({ key: order.key, priority: order.priority, signal });
    onEvent({ type: 'queued', waiting: queue.waitingCount });
    const leave = await turn;
    const begun = performance.now();
    const queueSeconds = (begun - arrived) / 1000;
    metrics.queueSeconds.observe(queueSeconds);
    const progress: Progress = { id: order.id, startedAt: Date.now(), critical: 0, serial: 0 };
    services.underWay.add(progress);
    const warnings: string[] = [];
    try {
      const result = await models.use(model, signal, async (pipeline) => {
        onEvent({ type: 'started', model: model.folder, queueSeconds });
        const options = fitted({ ...order.options, ...(await order.init?.()) }, model.folder, config.maxPixels);
        checkSize(options, model.folder, config.maxPixels);
        const run = pipeline.generate({ ...options, signal });
        let first = true;
        for await (const event of run) {
          count(services, event, progress);
          if (event.type === 'iteration' && first) {
            first = false;
            metrics.firstPreviewSeconds.observe((performance.now() - begun) / 1000);
          }
          if (event.type === 'warning') warnings.push(event.message);
          onEvent(event);
        }
        return run.result;
      });
      signal.throwIfAborted();
      const seconds = (performance.now() - begun) / 1000;
      metrics.imageSeconds.observe(seconds);
      const { sampler, steps } = result.settings;
      log.info(
        { id: order.id, model: model.name, sampler, steps, images: result.images.length, queueSeconds, seconds },
        'drawn',
      );
      const images = result.images.flatMap(({ rgb, ...image }) => (rgb ? [{ ...image, rgb }] : []));
      return { model: model.folder, result, warnings, images };
    } finally {
      services.underWay.delete(progress);
      leave();
    }
  } finally {
    limit.clear();
  }
}

/** @throws ApiError, SrdsError for what cannot or must not be drawn */
function checkSize(options: GenerateOptions, model: ModelFolder, maxPixels: number | undefined): void {
  const { width, height } = checkedSettings(options, model);
  const most = pixelLimit(model, maxPixels);
  if (width * height <= most) return;
  throw new ApiError(
    400,
    'invalid_size',
    `expected at most ${most} pixels, found ${width}x${height}; ask for a smaller image`,
    'size',
  );
}

/** A solver that a model's own configuration does not allow is the client's mistake, not the server's. */
function checkedSettings(options: GenerateOptions, model: ModelFolder) {
  try {
    return settingsOf(options, model);
  } catch (error) {
    const { solver } = options;
    if (solver === undefined || !(error instanceof SrdsError) || error.code !== 'MODEL_INVALID') throw error;
    const message = `expected a solver that ${model.name} can be drawn with, found ${solver}; leave it away or name another`;
    throw new ApiError(400, 'invalid_parameter', message, 'solver');
  }
}

/** Those that at least one of the models can be drawn with. */
export function solversFor(models: Models): SolverName[] {
  const allowed = (solver: SolverName, { folder }: ServedModel) => {
    try {
      settingsOf({ prompt: '', solver, sampler: 'serial' }, folder);
      return true;
    } catch {
      return false;
    }
  };
  return SOLVERS.filter((solver) => models.served.some((model) => allowed(solver, model)));
}

/** Where an image to start from decides the size, and is too large, it is brought to about the area that the model is made for. */
function fitted(options: GenerateOptions, model: ModelFolder, maxPixels: number | undefined): GenerateOptions {
  const { init, width, height } = options;
  if (!init || width !== undefined || height !== undefined) return options;
  if (init.width * init.height <= pixelLimit(model, maxPixels)) return options;
  const scale = Math.sqrt((model.size.width * model.size.height) / (init.width * init.height));
  const { sizeStep } = model;
  const side = (length: number) => Math.max(sizeStep, Math.round((length * scale) / sizeStep) * sizeStep);
  return { ...options, width: side(init.width), height: side(init.height) };
}

/** Pixels of the largest image that may be asked for. */
export function pixelLimit({ size }: ModelFolder, maxPixels: number | undefined): number {
  return maxPixels ?? USUAL_AREA * size.width * size.height;
}

/** Memory grows with more than the area: without a bound of its own a model is asked for so many times its own. */
const USUAL_AREA = 4;

/** Aborts an order, with the answer as reason. */
class Limit {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private readonly gone = () => this.controller.abort(clientGone());
  private readonly stopped = () => this.controller.abort(shuttingDown());

  constructor(
    private readonly stop: AbortSignal,
    private readonly order: Pick<GenerateJob, 'client' | 'deadlineSeconds'>,
  ) {
    const { client, deadlineSeconds } = order;
    this.timer = setTimeout(() => this.controller.abort(deadlineExceeded(deadlineSeconds)), deadlineSeconds * 1000);
    client.addEventListener('abort', this.gone, { once: true });
    stop.addEventListener('abort', this.stopped, { once: true });
    if (client.aborted) this.gone();
    if (stop.aborted) this.stopped();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  clear(): void {
    clearTimeout(this.timer);
    this.order.client.removeEventListener('abort', this.gone);
    this.stop.removeEventListener('abort', this.stopped);
  }
}

function count({ metrics }: Services, event: GenerateEvent, progress: Progress): void {
  switch (event.type) {
    case 'evaluation':
      metrics.evaluations.inc({ kind: event.step === 0 ? 'coarse' : 'fine' });
      progress.critical = Math.max(progress.critical, event.evaluations.critical);
      progress.serial = event.evaluations.serial;
      break;
    case 'image': {
      const { status, iterations, residuals } = event.result;
      metrics.images.inc({ sampler: iterations > 0 ? 'parallel' : 'serial', status });
      metrics.iterations.observe(iterations);
      const last = residuals.at(-1);
      if (last !== undefined) metrics.residual.observe(last);
      break;
    }
  }
}
