import { randomInt } from 'node:crypto';
import type { z } from 'zod';
import { pngParameters } from '../../pipeline/pngParameters.js';
import { SAMPLER_NAMES, withSides } from '../../pipeline/options/generation.js';
import { SOLVERS, type SolverName } from '../../solver/registry.js';
import { without } from '../../pipeline/options/option.js';
import { ApiError } from '../apiError.js';
import { endpoint, type Caller, type Endpoint } from '../endpoint.js';
import { generate, type GenerationResult } from '../generate.js';
import { fileOf, jsonSeed } from '../openai/answers.js';
import type { Services } from '../services.js';
import { supportedSolvers } from '../supportedSolvers.js';
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

/** The part of the Stable Diffusion web UIs' API that their tools need to generate images. */
export function sdapiEndpoints(services: Services): Endpoint[] {
  return [
    endpoint({
      method: 'post',
      path: '/sdapi/v1/txt2img',
      summary: 'Generates images, as Stable Diffusion web UIs do.',
      body: txt2imgRequest(services.config),
      answer: txt2imgAnswer,
      handle: (body, caller) => txt2img(services, body, caller),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/progress',
      summary: 'Reports the progress of the oldest running request.',
      answer: progressAnswer,
      handle: () => Response.json(progress(services)),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/samplers',
      summary: 'Lists the solvers by the names that web UIs give them.',
      answer: samplersAnswer,
      handle: () =>
        Response.json(
          supportedSolvers(services.models).map((solver) => ({
            name: SAMPLER_NAMES[solver],
            aliases: [solver],
            options: {},
          })),
        ),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/options',
      summary: 'Names the default model.',
      answer: optionsAnswer,
      handle: () => {
        const [{ name }] = services.models.served;
        return Response.json({ sd_model_checkpoint: name } satisfies z.output<typeof optionsAnswer>);
      },
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/sd-models',
      summary: 'Lists the served models.',
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
      `expected at most ${maxImages} images, found ${n}; request fewer`,
      'n_iter',
    );
  }
  const seed = body.seed ?? randomInt(2 ** 32);
  const generation = await generate(
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
    body.send_images === false
      ? []
      : await Promise.all(generation.images.map((image) => fileOf(image, generation, PNG)));
  const answer: z.output<typeof txt2imgAnswer> = {
    images: files.map((file) => file.toString('base64')),
    parameters: { ...body, seed: jsonSeed(BigInt(seed)) },
    info: JSON.stringify(infoOf(generation, body.batch_size ?? 1)),
  };
  return Response.json(answer);
}

/** The solver of a name, either the web UIs' or this project's. Newer web UIs append the schedule to the name. */
function solverOf(name: string | undefined): SolverName | undefined {
  if (name === undefined || /^(automatic|)$/i.test(name)) return undefined;
  const plain = name.toLowerCase().replace(/ karras$/, '');
  const found = SOLVERS.find((solver) => [solver, SAMPLER_NAMES[solver].toLowerCase()].includes(plain));
  if (found) return found;
  const known = SOLVERS.map((solver) => SAMPLER_NAMES[solver]).join(', ');
  throw new ApiError(
    400,
    'invalid_parameter',
    `expected one of ${known}, found ${name}; name one of them`,
    'sampler_name',
  );
}

function infoOf({ result, images, model }: GenerationResult, batchSize: number): object {
  const { settings } = result;
  const seeds = images.map(({ seed }) => jsonSeed(seed));
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
    sd_model_name: model.name,
    infotexts: images.map((image) => pngParameters(image, settings, model.name)),
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
