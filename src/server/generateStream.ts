import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { encodeImage } from '../image/encode.js';
import { pngParameters } from '../pipeline/pngParameters.js';
import { formOf } from '../pipeline/options/form.js';
import { GENERATION_OPTIONS, SAMPLER_CHOICES, SAMPLER_NAMES } from '../pipeline/options/generation.js';
import { version } from '../version.js';
import { logFailure, toApiError } from './apiError.js';
import {
  generate,
  pixelLimit,
  solversFor,
  type GenerationResult,
  type GenerateJob,
  type GenerateJobEvent,
} from './generate.js';
import { endpoint, type Endpoint } from './endpoint.js';
import { EventStream } from './eventStream.js';
import { fileOf, jsonSeed, srdsOf } from './openai/answers.js';
import { optionsOf } from './openai/images.js';
import { counts, formControl, liveRequest, requestLimits, srdsInfo, type LiveRequest } from './openai/schemas.js';
import type { Services } from './services.js';

const PREVIEW = { format: 'webp', quality: 80 } as const;

const liveEvents = z.union([
  z.object({ waiting: z.int() }).describe('queued'),
  z.object({ model: z.string(), queueSeconds: z.number() }).describe('started'),
  z
    .object({ begin: z.number(), end: z.number(), rows: z.int(), evaluations: z.array(z.array(z.int())) })
    .describe('batch: milliseconds since the first began; each evaluation as iteration, block, step'),
  z
    .object({ iteration: z.int(), residual: z.number().nullable(), evaluations: counts, ms: z.number() })
    .describe('iteration'),
  z.object({ iteration: z.int(), image: z.string() }).describe('preview: a WebP file as base64'),
  z.object({ message: z.string() }).describe('warning'),
  srdsInfo
    .extend({
      image: z.string(),
      seed: z.union([z.int(), z.string()]),
      parameters: z.string(),
      seconds: z.number(),
      reason: z.string().nullable(),
    })
    .describe('done: a PNG file as base64'),
]);

const info = z.object({
  version: z.string(),
  models: z.array(z.object({ name: z.string(), width: z.int(), height: z.int(), pixels: z.int() })),
  samplers: z.array(z.string()),
  solvers: z.array(z.object({ name: z.string(), title: z.string().describe('what Stable Diffusion web UIs call it') })),
  limits: z.object({ steps: z.int() }),
  form: z.array(formControl).describe('controls of a form for the options that the page shows'),
});

/** What the page uses: all that happens to an image while it is drawn. */
export function liveEndpoints(services: Services): Endpoint[] {
  const { config, models } = services;
  return [
    endpoint({
      method: 'post',
      path: '/srds/v1/generate',
      summary: 'Draws an image and streams everything that happens meanwhile.',
      body: liveRequest(config),
      answer: z.never(),
      events: liveEvents,
      handle: (body, caller) =>
        stream(services, body, {
          id: caller.id,
          model: body.model,
          options: {
            ...optionsOf({ ...body, n: 1, stream: true, partial_images: 1 }),
            sampler: body.sampler ?? 'srds',
          },
          key: caller.key,
          priority: body.priority,
          deadlineSeconds: body.deadline,
          client: caller.signal,
        }),
    }),
    endpoint({
      method: 'get',
      path: '/srds/v1/info',
      summary: 'What can be asked for.',
      answer: info,
      handle: () => {
        const answer: z.output<typeof info> = {
          version: version(),
          models: models.served.map(({ name, folder }) => ({
            name,
            ...folder.size,
            pixels: pixelLimit(folder, config.maxPixels),
          })),
          samplers: [...SAMPLER_CHOICES],
          solvers: solversFor(models).map((name) => ({ name, title: SAMPLER_NAMES[name] })),
          limits: { steps: config.maxSteps },
          form: formOf(GENERATION_OPTIONS, {
            limits: requestLimits(config),
            choices: { solver: solversFor(models) },
            defaults: config.requests,
          }),
        };
        return Response.json(answer);
      },
    }),
  ];
}

async function stream(services: Services, body: LiveRequest, order: GenerateJob): Promise<Response> {
  const events = new EventStream();
  const teller = new EventWriter(events);
  await new Promise<void>((taken, refused) => {
    const client = AbortSignal.any([order.client, events.closed]);
    const onEvent = (event: GenerateJobEvent) => {
      if (event.type === 'queued') taken();
      teller.write(event);
    };
    generate(
      services,
      {
        ...order,
        options: { ...order.options, seed: body.seed === undefined ? randomInt(2 ** 32) : BigInt(body.seed) },
        client,
      },
      onEvent,
    )
      .then((drawn) => teller.done(drawn))
      .catch((error: unknown) => {
        refused(error);
        logFailure(services.log, order.id, error);
        events.send('error', toApiError(error).body);
      })
      .finally(() => events.end());
  });
  return events.response();
}

class EventWriter {
  private start: number | undefined;
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly events: EventStream) {}

  write(event: GenerateJobEvent): void {
    switch (event.type) {
      case 'queued':
        return this.events.send('queued', { waiting: event.waiting });
      case 'started':
        return this.events.send('started', { model: event.model.name, queueSeconds: event.queueSeconds });
      case 'warning':
        return this.events.send('warning', { message: event.message });
      case 'batch': {
        const { begin, end, rows, evaluations } = event;
        this.start ??= begin;
        return this.events.send('batch', {
          begin: begin - this.start,
          end: end - this.start,
          rows,
          evaluations: evaluations.map((place) => place.slice(0, 3)),
        });
      }
      case 'iteration': {
        const { iteration, residual = null, evaluations, preview } = event;
        const ms = performance.now() - (this.start ?? performance.now());
        this.events.send('iteration', { iteration, residual, evaluations, ms });
        if (preview) {
          this.last = this.last.then(async () => {
            const { format, quality } = PREVIEW;
            const file = await encodeImage(preview, format, { quality });
            this.events.send('preview', { iteration, image: file.toString('base64') }, 'preview');
          });
          this.last.catch(() => undefined);
        }
      }
    }
  }

  async done(drawn: GenerationResult): Promise<void> {
    await this.last;
    const { result, model, images } = drawn;
    const [image] = images;
    const file = await fileOf(image, drawn, {
      output_format: 'png',
      output_compression: 100,
      response_format: 'b64_json',
    });
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
