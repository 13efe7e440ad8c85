import { z } from 'zod';
import { encodeImage } from '../image/encode.js';
import { pngParameters } from '../pipeline/pngParameters.js';
import { endpoint, type Endpoint } from './endpoint.js';
import { generateEvents, type GenerateEvents } from './events.js';
import { EventStream } from './eventStream.js';
import type { GenerateJobEvent, GenerationResult } from './generate.js';
import { checkImageFormats, decodeImages } from './imageInput.js';
import { fileOf, jsonSeed, srdsOf } from './openai/answers.js';
import { liveOptionsOf } from './openai/options.js';
import { liveRequest } from './openai/schemas.js';
import { OrderedTasks } from './orderedTasks.js';
import type { Services } from './services.js';
import { streamJob, type JobWriter } from './streamJob.js';

const PREVIEW = { format: 'webp', quality: 80 } as const;
const FILE = { output_format: 'png', output_compression: 100 } as const;

/** The route of the page: generates images and streams all events. */
export function generateStreamEndpoint(services: Services): Endpoint {
  return endpoint({
    method: 'post',
    path: '/srds/v1/generate',
    summary: 'Generates images and streams everything that happens meanwhile.',
    body: liveRequest(services.config),
    generates: true,
    events: z.union(Object.values(generateEvents)),
    handle: (body, caller) => {
      const { image, mask, strength } = body;
      if (image) checkImageFormats({ image, mask });
      const events = new EventStream<GenerateEvents>();
      const job = {
        id: caller.id,
        model: body.model,
        options: liveOptionsOf(body),
        ...(image && { init: async () => ({ ...(await decodeImages({ image, mask })), strength }) }),
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
        return this.events.send('queued', { ahead: event.ahead }, 'queued');
      case 'started':
        return this.events.send('started', { model: event.model.name, queueSeconds: event.queueSeconds });
      case 'phase':
        return this.events.send('phase', { phase: event.phase, evaluations: event.expected?.total ?? null });
      case 'plan': {
        const { sampler, choice, serialEvaluations } = event;
        const { seconds, speedUp } = choice?.chosen ?? {};
        const forecast =
          seconds === undefined || speedUp === undefined
            ? { seconds: null, serialSeconds: null }
            : { seconds, serialSeconds: seconds * speedUp };
        return this.events.send('plan', {
          sampler,
          reason: choice?.reason ?? null,
          serialEvaluations,
          ...forecast,
        });
      }
      case 'warning':
        return this.events.send('warning', { message: event.message });
      case 'batch': {
        const { begin, end, rows } = event;
        this.start ??= begin;
        return this.events.send('batch', {
          begin: begin - this.start,
          end: end - this.start,
          rows,
          evaluations: event.evaluations.map(([iteration, block, step, , image]) => [iteration, block, step, image]),
        });
      }
      case 'iteration': {
        const { image: index, iteration, residual = null, evaluations, preview } = event;
        const ms = performance.now() - (this.start ?? performance.now());
        this.events.send('iteration', { index, iteration, residual, evaluations, ms });
        if (!preview) return;
        this.previews.add(async () => {
          const { format, quality } = PREVIEW;
          const file = await encodeImage(preview, format, { quality });
          this.events.send('preview', { index, iteration, image: file.toString('base64') }, `preview ${index}`);
        });
      }
    }
  }

  async finish(generation: GenerationResult): Promise<void> {
    await this.previews.drained();
    const { result, model, images } = generation;
    for (const [index, image] of images.entries()) {
      const file = await fileOf(image, generation, FILE);
      this.events.send('image', {
        ...srdsOf(image, result.settings),
        index,
        image: file.toString('base64'),
        seed: jsonSeed(image.seed),
        parameters: pngParameters(image, result.settings, model.name),
      });
    }
    const { encode, sample, decode } = result.seconds;
    const { serialSeconds } = result;
    this.events.send('done', {
      seconds: encode + sample + decode,
      serialSeconds: serialSeconds === undefined ? null : encode + serialSeconds + decode,
    });
  }
}
