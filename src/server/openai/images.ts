import { endpoint, type Caller, type Endpoint } from '../endpoint.js';
import { EventStream } from '../eventStream.js';
import { checkImageFormats, decodeImages } from '../imageInput.js';
import { generate, type GenerateJob } from '../generate.js';
import type { Services } from '../services.js';
import { streamJob } from '../streamJob.js';
import { imagesAnswer } from './answers.js';
import { concessionsOf } from './concessions.js';
import { optionsOf } from './options.js';
import { PartialImages, type ImageEvents, type ImageKind } from './partialImages.js';
import {
  editRequest,
  generationRequest,
  imageEvents,
  imagesAnswer as imagesAnswerSchema,
  type EditRequest,
  type GenerationRequest,
} from './schemas.js';

/** Models that answer with addresses by default; their clients read nothing else. */
const ANSWERS_BY_URL = /^dall-e-[23]$/;

/** OpenAI's API for images. */
export function imageEndpoints(services: Services): Endpoint[] {
  return [
    endpoint({
      method: 'post',
      path: '/v1/images/generations',
      summary: 'Generates images. A stream has the iterations of SRDS as partial images.',
      body: generationRequest(services.config),
      answer: imagesAnswerSchema,
      generates: true,
      events: imageEvents('image_generation'),
      handle: (body, caller) => answer(services, 'image_generation', body, { options: optionsOf(body) }, caller),
    }),
    endpoint({
      method: 'post',
      path: '/v1/images/edits',
      summary: 'Generates images from an initial image, or repaints a part of it, with models that have a VAE encoder.',
      body: editRequest(services.config),
      form: true,
      answer: imagesAnswerSchema,
      generates: true,
      events: imageEvents('image_edit'),
      handle: (body, caller) => {
        const files = { image: body.image[0], mask: body.mask };
        checkImageFormats(files);
        const init = async () => ({ ...(await decodeImages(files)), strength: body.strength });
        return answer(services, 'image_edit', body, { options: optionsOf(body), init }, caller);
      },
    }),
  ];
}

async function answer(
  services: Services,
  kind: ImageKind,
  body: GenerationRequest | EditRequest,
  input: Pick<GenerateJob, 'options' | 'init'>,
  caller: Caller,
): Promise<Response> {
  const job: GenerateJob = {
    id: caller.id,
    model: body.model,
    ...input,
    concessions: concessionsOf(body),
    strict: body.strict,
    interruptible: false,
    key: caller.key,
    priority: body.priority,
    deadlineSeconds: body.deadline,
    client: caller.signal,
  };
  if (body.stream) {
    const events = new EventStream<ImageEvents>();
    return streamJob(services, job, events, new PartialImages(events, kind, body), caller);
  }
  const generation = await generate(services, job, () => undefined);
  const response_format = body.response_format ?? (ANSWERS_BY_URL.test(body.model ?? '') ? 'url' : 'b64_json');
  return Response.json(
    await imagesAnswer(generation, { ...body, response_format }, { ...caller, stored: services.stored }),
  );
}
