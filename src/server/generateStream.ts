import { z } from 'zod';
import { encodeImage } from '../image/encode.js';
import { pngParameters } from '../pipeline/pngParameters.js';
import { endpoint, type Endpoint } from './endpoint.js';
import { generateEvents, type GenerateEvents } from './events.js';
import { EventStream } from './eventStream.js';
import type { GenerateJobEvent, GenerationResult } from './generate.js';
import { fileOf, jsonSeed, srdsOf } from './openai/answers.js';
import { optionsOf } from './openai/options.js';
import { liveRequest } from './openai/schemas.js';
import { OrderedTasks } from './orderedTasks.js';
import type { Services } from './services.js';
import { streamJob, type JobWriter } from './streamJob.js';

const PREVIEW = { format: 'webp', quality: 80 } as const;
const FILE = { output_format: 'png', output_compression: 100 } as const;

/** The route of the page: generates an image and streams all events. */
export function generateStreamEndpoint(services: Services): Endpoint {
  return endpoint({
    method: 'post',
    path: '/srds/v1/generate',
    summary: 'Generates an image and streams everything that happens meanwhile.',
    body: liveRequest(services.config),
    answer: z.never(),
    events: z.union(Object.values(generateEvents)),
    handle: (body, caller) => {
      const events = new EventStream<GenerateEvents>();
      const job = {
        id: caller.id,
        model: body.model,
        options: { ...optionsOf({ ...body, n: 1, stream: true, partial_images: 1 }), sampler: body.sampler ?? 'srds' },
        concessions: [],
        strict: body.strict,
        interruptible: false,
        key: caller.key,
        priority: body.priority,
        deadlineSeconds: body.deadline,
        client: caller.signal,
      };
      return streamJob(services, job, events, new EventWriter(events), caller);
    },
  });
}

/** Writes the events of a job. Times are milliseconds since its first batch began. */
class EventWriter implements JobWriter {
  private start: number | undefined;
  private readonly previews = new OrderedTasks();

  constructor(private readonly events: EventStream<GenerateEvents>) {}

  write(event: GenerateJobEvent): void {
    switch (event.type) {
      case 'queued':
        return this.events.send('queued', { waiting: event.waiting });
      case 'started':
        return this.events.send('started', { model: event.model.name, queueSeconds: event.queueSeconds });
      case 'warning':
        return this.events.send('warning', { message: event.message });
      case 'batch': {
        const { begin, end, rows } = event;
        this.start ??= begin;
        return this.events.send('batch', {
          begin: begin - this.start,
          end: end - this.start,
          rows,
          evaluations: event.evaluations.map(([iteration, block, step]) => [iteration, block, step]),
        });
      }
      case 'iteration': {
        const { iteration, residual = null, evaluations, preview } = event;
        const ms = performance.now() - (this.start ?? performance.now());
        this.events.send('iteration', { iteration, residual, evaluations, ms });
        if (!preview) return;
        this.previews.add(async () => {
          const { format, quality } = PREVIEW;
          const file = await encodeImage(preview, format, { quality });
          this.events.send('preview', { iteration, image: file.toString('base64') }, 'preview');
        });
      }
    }
  }

  async finish(generation: GenerationResult): Promise<void> {
    await this.previews.drained();
    const { result, model, images } = generation;
    const [image] = images;
    const file = await fileOf(image, generation, FILE);
    const { encode, sample, decode } = result.seconds;
    this.events.send('done', {
      ...srdsOf(image, result.settings),
      image: file.toString('base64'),
      seed: jsonSeed(image.seed),
      parameters: pngParameters(image, result.settings, model.name),
      seconds: encode + sample + decode,
      reason: result.choice?.reason ?? null,
    });
  }
}
