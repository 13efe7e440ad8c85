import { randomInt } from 'node:crypto';
import type { z } from 'zod';
import { pngParameters } from '../../pipeline/pngParameters.js';
import { SAMPLER_NAMES, withSides } from '../../pipeline/options/generation.js';
import { SOLVERS, type SolverName } from '../../solver/registry.js';
import { without } from '../../pipeline/options/option.js';
import { ApiError } from '../apiError.js';
import { generate, solversFor, type GenerationResult } from '../generate.js';
import { endpoint, type Caller, type Endpoint } from '../endpoint.js';
import { fileOf, jsonSeed } from '../openai/answers.js';
import type { Services } from '../services.js';
import {
  optionsAnswer,
  progressAnswer,
  samplersAnswer,
  sdModelsAnswer,
  txt2imgAnswer,
  txt2imgRequest,
  type Txt2imgRequest,
} from './schemas.js';

const PNG = { output_format: 'png', output_compression: 100, response_format: 'b64_json' } as const;

/** The API of Stable Diffusion web UIs, as far as tools built for them need it to draw. */
export function sdapiEndpoints(services: Services): Endpoint[] {
  return [
    endpoint({
      method: 'post',
      path: '/sdapi/v1/txt2img',
      summary: 'Draws images, as Stable Diffusion web UIs do.',
      body: txt2imgRequest(services.config),
      answer: txt2imgAnswer,
      handle: (body, caller) => txt2img(services, body, caller),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/progress',
      summary: 'How far the oldest request under way is.',
      answer: progressAnswer,
      handle: () => Response.json(progress(services)),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/samplers',
      summary: 'Solvers, by the names that web UIs give them.',
      answer: samplersAnswer,
      handle: () =>
        Response.json(
          solversFor(services.models).map((solver) => ({
            name: SAMPLER_NAMES[solver],
            aliases: [solver],
            options: {},
          })),
        ),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/options',
      summary: 'The model that is drawn with unless a request names another.',
      answer: optionsAnswer,
      handle: () => {
        const [{ name }] = services.models.served;
        return Response.json({ sd_model_checkpoint: name } satisfies z.output<typeof optionsAnswer>);
      },
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/sd-models',
      summary: 'The models that are served.',
      answer: sdModelsAnswer,
      handle: () =>
        Response.json(
          services.models.served.map(({ name }) => ({
            title: name,
            model_name: name,
            hash: null,
            sha256: null,
            filename: name,
            config: null,
          })),
        ),
    }),
  ];
}

async function txt2img(services: Services, body: Txt2imgRequest, caller: Caller): Promise<Response> {
  const { maxImages, deadline, requests } = services.config;
  const sides = withSides(without(requests, 'strength'));
  const n = (body.batch_size ?? 1) * (body.n_iter ?? 1);
  if (n > maxImages) {
    throw new ApiError(
      400,
      'invalid_parameter',
      `expected at most ${maxImages} images, found ${n}; ask for fewer`,
      'n_iter',
    );
  }
  const seed = body.seed === undefined || body.seed === -1 ? randomInt(2 ** 32) : body.seed;
  const drawn = await generate(
    services,
    {
      id: caller.id,
      model: body.override_settings?.sd_model_checkpoint,
      options: {
        ...sides,
        prompt: body.prompt,
        negativePrompt: body.negative_prompt,
        seed,
        n,
        steps: body.steps,
        guidance: body.cfg_scale,
        width: body.width ?? sides.width,
        height: body.height ?? sides.height,
        solver: solverOf(body.sampler_name ?? body.sampler_index) ?? requests.solver,
        eta: body.eta,
        sampler: requests.sampler ?? 'auto',
        previews: false,
      },
      key: caller.key,
      priority: 0,
      deadlineSeconds: deadline,
      client: caller.signal,
    },
    () => undefined,
  );
  const files =
    body.send_images === false ? [] : await Promise.all(drawn.images.map((image) => fileOf(image, drawn, PNG)));
  const answer: z.output<typeof txt2imgAnswer> = {
    images: files.map((file) => file.toString('base64')),
    parameters: body,
    info: JSON.stringify(infoOf(drawn, body.batch_size ?? 1)),
  };
  return Response.json(answer);
}

/** By a web UI's name, with or without the schedule that newer ones name apart, or by its name here. */
function solverOf(name: string | undefined): SolverName | undefined {
  if (name === undefined || /^(automatic|)$/i.test(name)) return undefined;
  const plain = name.toLowerCase().replace(/ karras$/, '');
  const found = SOLVERS.find((solver) => [solver, SAMPLER_NAMES[solver].toLowerCase()].includes(plain));
  if (found) return found;
  const known = SOLVERS.map((solver) => SAMPLER_NAMES[solver]).join(', ');
  throw new ApiError(400, 'invalid_parameter', `expected one of ${known}, found ${name}; name one`, 'sampler_name');
}

function infoOf(drawn: GenerationResult, batchSize: number): object {
  const { settings } = drawn.result;
  const seeds = drawn.images.map(({ seed }) => jsonSeed(seed));
  return {
    prompt: settings.prompt,
    negative_prompt: settings.negativePrompt ?? '',
    seed: seeds[0],
    all_seeds: seeds,
    width: settings.width,
    height: settings.height,
    sampler_name: SAMPLER_NAMES[settings.solver],
    cfg_scale: settings.guidance,
    steps: settings.steps,
    batch_size: batchSize,
    sd_model_name: drawn.model.name,
    infotexts: drawn.images.map((image) => pngParameters(image, settings, drawn.model.name)),
  };
}

function progress({ underWay, queue }: Services): z.output<typeof progressAnswer> {
  const first = [...underWay].at(0);
  const share = first && first.serial > 0 ? Math.min(1, first.critical / first.serial) : 0;
  const spent = first ? (Date.now() - first.startedAt) / 1000 : 0;
  return {
    progress: share,
    eta_relative: share > 0 ? (spent / share) * (1 - share) : 0,
    state: {
      job: first?.id ?? '',
      job_count: underWay.size + queue.waitingCount,
      job_no: 0,
      sampling_step: first?.critical ?? 0,
      sampling_steps: first?.serial ?? 0,
      skipped: false,
      interrupted: false,
    },
    current_image: null,
    textinfo: null,
  };
}
