import type { ModelFolder } from '../model/modelFolder.js';
import { snakeCase } from '../pipeline/options/option.js';
import { SrdsError } from '../errors.js';
import { CurrentImages } from '../pipeline/currentImages.js';
import { settingsOf, type GenerateOptions } from '../pipeline/options.js';
import type { GenerateEvent, GenerateResult } from '../pipeline/result.js';
import { ApiError, shuttingDown } from './apiError.js';
import { refuseConcessions, type Concession } from './concession.js';
import { fitSize } from './imageSize.js';
import { Interruption, type CompleteImage } from './interruption.js';
import { JobLimit } from './jobLimit.js';
import { withSteps } from './modelSteps.js';
import type { ServedModel } from './models.js';
import type { Progress, Services } from './services.js';
import { startSpan, traced } from './tracing.js';

/** A request for images. */
export interface GenerateJob {
  /** The id of the request, for the log. */
  readonly id: string;
  readonly model: string | undefined;
  readonly options: GenerateOptions;
  /** Decodes the initial image and its mask. It runs when the job starts, because pixels take much more memory than files. */
  readonly init?: () => Promise<Pick<GenerateOptions, 'init' | 'mask' | 'strength'>>;
  /** What was found out already that the request will not get. */
  readonly concessions: readonly Concession[];
  /** Whether to refuse the request instead of making concessions. */
  readonly strict: boolean;
  /** Whether the client may end the job and still get the images so far. */
  readonly interruptible: boolean;
  /** The name of the client's API key. */
  readonly key: string;
  readonly priority: number;
  /** Seconds from the arrival of the job after which it is aborted. */
  readonly deadlineSeconds: number;
  /** Aborted when the client leaves. */
  readonly client: AbortSignal;
}

/** The events of a job: it enters the queue, it starts, then the events of its run. */
export type GenerateJobEvent =
  /** Repeated when the number of jobs that go before it changes. */
  | { readonly type: 'queued'; readonly ahead: number }
  | { readonly type: 'started'; readonly model: ModelFolder; readonly queueSeconds: number }
  | GenerateEvent;

/** The result of a job. */
export interface GenerationResult {
  readonly model: ModelFolder;
  readonly result: GenerateResult;
  /** Warnings of the run, such as options that had no effect. */
  readonly warnings: readonly string[];
  /** All images; of an interrupted job those that had been begun. */
  readonly images: readonly CompleteImage[];
}

/**
 * Runs a job when its turn comes. A client that leaves, a passed deadline and a server that shuts down end it within an evaluation,
 * whether it waits or runs.
 * @throws ApiError 400, 404, 429, 499, 503, 504; SrdsError as Pipeline.generate does
 */
export async function generate(
  services: Services,
  job: GenerateJob,
  onEvent: (event: GenerateJobEvent) => void,
): Promise<GenerationResult> {
  const { models, queue, metrics, config } = services;
  if (services.draining()) throw shuttingDown();
  const model = models.find(job.model);
  const given = withSteps(job.options, model.folder, config.maxSteps);
  const isSizeOfInit = job.init !== undefined && given.width === undefined && given.height === undefined;
  const { options, changed } = isSizeOfInit
    ? { options: given, changed: [] }
    : fitSize(given, model.folder, config.maxPixels);
  const concessions = [...job.concessions, ...changed];
  // An invalid request fails before it waits.
  if (job.strict) refuseConcessions(concessions);
  checkOptions(options, model.folder);
  const limit = new JobLimit(job.client, services.stop, job.deadlineSeconds);
  const arrived = performance.now();
  try {
    const leave = await traced('wait for a turn', {}, () =>
      queue.enter({
        key: job.key,
        priority: job.priority,
        place: () => models.place(model),
        signal: limit.signal,
        onAhead: (ahead) => onEvent({ type: 'queued', ahead }),
      }),
    );
    const queueSeconds = (performance.now() - arrived) / 1000;
    metrics.queueSeconds.observe(queueSeconds);
    try {
      return await run(
        services,
        { ...job, options, concessions },
        { model, signal: limit.signal, queueSeconds },
        onEvent,
      );
    } finally {
      leave();
    }
  } finally {
    limit.clear();
  }
}

interface Turn {
  readonly model: ServedModel;
  readonly signal: AbortSignal;
  /** Seconds that the job waited. */
  readonly queueSeconds: number;
}

async function run(
  { models, metrics, config, log, underWay }: Services,
  job: GenerateJob,
  { model, signal, queueSeconds }: Turn,
  onEvent: (event: GenerateJobEvent) => void,
): Promise<GenerationResult> {
  const { folder } = model;
  const begun = performance.now();
  const current = new CurrentImages();
  const interruption = new Interruption(current, job.options.n ?? 1);
  const progress: Progress = {
    id: job.id,
    key: job.key,
    startedAt: Date.now(),
    critical: 0,
    serial: 0,
    current,
    interrupt: job.interruptible ? () => interruption.interrupt() : undefined,
  };
  const warnings: string[] = [];
  const warn = (message: string) => {
    warnings.push(message);
    onEvent({ type: 'warning', message });
  };
  underWay.add(progress);
  const loading = startSpan('load the model', { 'srds.model': model.name });
  try {
    const result = await models.use(model, signal, (pipeline) => {
      loading.end();
      return traced('generate images', { 'srds.model': model.name }, async (span) => {
        onEvent({ type: 'started', model: folder, queueSeconds });
        const { options, changed } = fitSize({ ...job.options, ...(await job.init?.()) }, folder, config.maxPixels);
        if (job.strict) refuseConcessions(changed);
        checkOptions(options, folder);
        for (const { warning } of [...job.concessions, ...changed]) warn(warning);
        const generation = pipeline.generate({
          ...options,
          current,
          signal: AbortSignal.any([signal, interruption.signal]),
          nameOf: snakeCase,
        });
        let first = true;
        for await (const event of generation) {
          metrics.event(event);
          if (event.type === 'evaluation') {
            progress.critical = Math.max(progress.critical, event.evaluations.critical);
            progress.serial = event.evaluations.serial;
          }
          if (event.type === 'iteration' && first) {
            first = false;
            metrics.firstPreviewSeconds.observe((performance.now() - begun) / 1000);
          }
          if (event.type === 'warning') warnings.push(event.message);
          onEvent(event);
        }
        const { images, settings } = await generation.result;
        span.setAttributes({
          'srds.sampler': settings.sampler,
          'srds.steps': settings.steps,
          'srds.images': images.length,
          'srds.evaluations': images.reduce((sum, { evaluations }) => sum + evaluations.total, 0),
        });
        return generation.result;
      });
    });
    signal.throwIfAborted();
    const seconds = (performance.now() - begun) / 1000;
    metrics.imageSeconds.observe(seconds);
    const { sampler, steps } = result.settings;
    const images = interruption.complete(result.images);
    log.info(
      { id: job.id, model: model.name, sampler, steps, images: result.images.length, queueSeconds, seconds },
      'generated',
    );
    return { model: folder, result, warnings, images };
  } finally {
    if (loading.isRecording()) loading.end();
    underWay.delete(progress);
  }
}

/**
 * Checks options against a model. A solver that the model does not support is the client's mistake.
 * @throws ApiError 400; SrdsError as settingsOf does
 */
function checkOptions(options: GenerateOptions, model: ModelFolder): void {
  try {
    settingsOf(options, model);
  } catch (error) {
    const { solver } = options;
    if (solver === undefined || !(error instanceof SrdsError) || error.code !== 'MODEL_INVALID') throw error;
    const message = `expected a solver that ${model.name} supports, found ${solver}; omit it or name another`;
    throw new ApiError(400, 'invalid_parameter', message, 'solver');
  }
}
