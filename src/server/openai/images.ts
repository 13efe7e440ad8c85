import { randomInt } from 'node:crypto';
import { encodeImage } from '../../image/encode.js';
import { readImage, type RgbImage } from '../../image/image.js';
import { usualSampler, type GenerateOptions } from '../../pipeline/options.js';
import { valuesFromBody } from '../../pipeline/options/body.js';
import { GENERATION_OPTIONS, withSides } from '../../pipeline/options/generation.js';
import { without } from '../../pipeline/options/option.js';
import { ApiError, logFailure, toApiError } from '../apiError.js';
import { generate, type GenerationResult, type GenerateJob, type GenerateJobEvent } from '../generate.js';
import type { Caller, Endpoint } from '../endpoint.js';
import { endpoint } from '../endpoint.js';
import { EventStream } from '../eventStream.js';
import type { Services } from '../services.js';
import { aboutImages, fileOf, imagesAnswer, jsonSeed, now, srdsOf, usageOf, warningsOf } from './answers.js';
import {
  editRequest,
  generationRequest,
  imageEvents,
  imagesAnswer as imagesAnswerSchema,
  type EditRequest,
  type GenerationRequest,
  type LiveRequest,
} from './schemas.js';

type Kind = 'image_generation' | 'image_edit';
type Wanted = GenerationRequest | EditRequest;

const MAX_RANDOM_SEED = 2 ** 32;

/** OpenAI's API for images. */
export function imageEndpoints(services: Services): Endpoint[] {
  return [
    endpoint({
      method: 'post',
      path: '/v1/images/generations',
      summary: 'Draws images. With stream, partial images are the iterations of SRDS.',
      body: generationRequest(services.config),
      answer: imagesAnswerSchema,
      events: imageEvents('image_generation'),
      handle: (body, caller) => answer(services, 'image_generation', body, { options: optionsOf(body) }, caller),
    }),
    endpoint({
      method: 'post',
      path: '/v1/images/edits',
      summary: 'Draws images from an image on; for models that have a VAE encoder.',
      body: editRequest(services.config),
      form: true,
      answer: imagesAnswerSchema,
      events: imageEvents('image_edit'),
      handle: (body, caller) => {
        checkImage(body.image);
        const init = async () => ({ init: await initOf(body.image), strength: body.strength });
        return answer(services, 'image_edit', body, { options: optionsOf(body), init }, caller);
      },
    }),
  ];
}

/** The options of a generation that a request gives. */
export function optionsOf(
  body: LiveRequest & Pick<GenerationRequest, 'n' | 'stream' | 'partial_images'>,
): GenerateOptions {
  // The strength goes with the initial image.
  const { prompt, ...values } = withSides(valuesFromBody(without(GENERATION_OPTIONS, 'strength'), body));
  const previews = body.stream && body.partial_images > 0;
  return {
    ...values,
    prompt: prompt ?? '',
    seed: values.seed ?? randomInt(MAX_RANDOM_SEED),
    sampler: values.sampler ?? (previews ? 'srds' : usualSampler(values)),
    previews,
  };
}

/** What no camera takes is not decoded. */
const MAX_INPUT_PIXELS = 25e6;
const SIGNATURES = [/^\x89PNG\r\n/, /^\xff\xd8\xff/, /^RIFF....WEBP/s];

/** Other formats that could be decoded have parsers which are not for strangers' files. */
function checkImage(image: Uint8Array): void {
  const head = Buffer.from(image.subarray(0, 12)).toString('latin1');
  if (!SIGNATURES.some((signature) => signature.test(head))) {
    throw new ApiError(
      400,
      'invalid_image',
      'expected a PNG, JPEG or WebP image, found something else; convert it',
      'image',
    );
  }
}

async function initOf(image: Uint8Array): Promise<RgbImage> {
  try {
    return await readImage(image, MAX_INPUT_PIXELS);
  } catch {
    const most = MAX_INPUT_PIXELS / 1e6;
    const message = `expected a whole image of at most ${most} megapixels, found one that is damaged or larger; give another`;
    throw new ApiError(400, 'invalid_image', message, 'image');
  }
}

async function answer(
  services: Services,
  kind: Kind,
  body: Wanted,
  what: Pick<GenerateJob, 'options' | 'init'>,
  caller: Caller,
): Promise<Response> {
  const order: GenerateJob = {
    id: caller.id,
    model: body.model,
    ...what,
    key: caller.key,
    priority: body.priority,
    deadlineSeconds: body.deadline,
    client: caller.signal,
  };
  if (body.stream) return streamed(services, kind, body, order);
  const drawn = await generate(services, order, () => undefined);
  return Response.json(await imagesAnswer(drawn, body, { stored: services.stored, base: caller.base }));
}

/** Errors before the order is taken are the answer; later ones are events. */
async function streamed(services: Services, kind: Kind, body: Wanted, order: GenerateJob): Promise<Response> {
  const stream = new EventStream();
  const partials = new PartialImages(stream, kind, body);
  const drawing = new Promise<void>((taken, refused) => {
    const onEvent = (event: GenerateJobEvent) => {
      if (event.type === 'queued') taken();
      else partials.show(event);
    };
    const client = AbortSignal.any([order.client, stream.closed]);
    generate(services, { ...order, client }, onEvent)
      .then((drawn) => partials.complete(drawn))
      .catch((error: unknown) => {
        refused(error);
        logFailure(services.log, order.id, error);
        stream.send('error', toApiError(error).body);
      })
      .finally(() => stream.end());
  });
  await drawing;
  return stream.response();
}

/** Sends the first iterations of each image, then the images. */
class PartialImages {
  private readonly sent = new Map<number, number>();
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly stream: EventStream,
    private readonly kind: Kind,
    private readonly body: Wanted,
  ) {}

  show(event: GenerateJobEvent): void {
    if (event.type !== 'iteration' || !event.preview) return;
    const { preview, image, iteration, residual = null, evaluations } = event;
    const index = this.sent.get(image) ?? 0;
    if (index >= this.body.partial_images) return;
    this.sent.set(image, index + 1);
    this.inOrder(async () => {
      const { output_format: format, output_compression: quality } = this.body;
      const file = await encodeImage(preview, format, { quality });
      this.stream.send(`${this.kind}.partial_image`, {
        type: `${this.kind}.partial_image`,
        b64_json: file.toString('base64'),
        partial_image_index: index,
        image_index: image,
        created_at: now(),
        ...aboutImages(this.body, preview),
        srds: { iteration, residual, evaluations },
      });
    });
  }

  async complete(drawn: GenerationResult): Promise<void> {
    for (const [index, image] of drawn.images.entries()) {
      this.inOrder(async () => {
        const file = await fileOf(image, drawn, this.body);
        this.stream.send(`${this.kind}.completed`, {
          type: `${this.kind}.completed`,
          b64_json: file.toString('base64'),
          image_index: index,
          created_at: now(),
          ...aboutImages(this.body, image.rgb),
          seed: jsonSeed(image.seed),
          usage: usageOf(drawn),
          ...warningsOf(drawn),
          srds: srdsOf(image, drawn.result.settings),
        });
      });
    }
    await this.last;
  }

  /** Encoding takes its time; what happened first is sent first. */
  private inOrder(send: () => Promise<void>): void {
    this.last = this.last.then(send);
    this.last.catch(() => undefined);
  }
}
