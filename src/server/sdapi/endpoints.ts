import { freemem, totalmem } from 'node:os';
import { z } from 'zod';
import { SAMPLER_NAMES } from '../../pipeline/options/generation.js';
import { endpoint, type Endpoint } from '../endpoint.js';
import type { Services } from '../services.js';
import { supportedSolvers } from '../supportedSolvers.js';
import { ChosenModels } from './chosenModels.js';
import { img2img, txt2img } from './generation.js';
import { pngInfo } from './pngInfo.js';
import { interrupt, progressOf } from './progress.js';
import {
  imagesAnswer,
  img2imgRequest,
  memoryAnswer,
  optionsAnswer,
  optionsRequest,
  pngInfoAnswer,
  pngInfoRequest,
  progressAnswer,
  samplersAnswer,
  schedulersAnswer,
  sdModelsAnswer,
  txt2imgRequest,
} from './schemas.js';

/** What this server has nothing of, by its path. */
const EMPTY: Readonly<Record<string, object>> = {
  '/sdapi/v1/upscalers': [],
  '/sdapi/v1/latent-upscale-modes': [],
  '/sdapi/v1/realesrgan-models': [],
  '/sdapi/v1/sd-vae': [],
  '/sdapi/v1/sd-modules': [],
  '/sdapi/v1/hypernetworks': [],
  '/sdapi/v1/loras': [],
  '/sdapi/v1/prompt-styles': [],
  '/sdapi/v1/face-restorers': [],
  '/sdapi/v1/script-info': [],
  '/sdapi/v1/scripts': { txt2img: [], img2img: [] },
  '/sdapi/v1/embeddings': { loaded: {}, skipped: {} },
  '/sdapi/v1/cmd-flags': {},
  '/controlnet/model_list': { model_list: [] },
  '/controlnet/module_list': { module_list: [], module_detail: {} },
  '/controlnet/control_types': { control_types: {} },
};

const SCHEDULERS = ['Automatic', 'Uniform', 'Karras'] as const;
/** The rho of Karras et al. 2022. */
const RHO = 7;

/** The part of the Stable Diffusion web UIs' API that their tools need. */
export function sdapiEndpoints(services: Services): Endpoint[] {
  const { models } = services;
  const chosen = new ChosenModels(models);
  return [
    endpoint({
      method: 'post',
      path: '/sdapi/v1/txt2img',
      summary: 'Generates images, as Stable Diffusion web UIs do.',
      body: txt2imgRequest(services.config),
      answer: imagesAnswer,
      generates: true,
      handle: (body, caller) => txt2img(services, chosen, body, caller),
    }),
    endpoint({
      method: 'post',
      path: '/sdapi/v1/img2img',
      summary: 'Generates images from an initial image, or repaints a part of it.',
      body: img2imgRequest(services.config),
      answer: imagesAnswer,
      generates: true,
      handle: (body, caller) => img2img(services, chosen, body, caller),
    }),
    endpoint({
      method: 'post',
      path: '/sdapi/v1/png-info',
      summary: 'Reads the generation parameters of an image.',
      body: pngInfoRequest,
      answer: pngInfoAnswer,
      handle: async ({ image }) => Response.json(await pngInfo(image)),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/progress',
      summary:
        "Reports the progress of the client's oldest running request; skip_current_image=true leaves out its image.",
      answer: progressAnswer,
      handle: async (_, { key }, { req }) =>
        Response.json(await progressOf(services, key, req.query('skip_current_image') !== 'true')),
    }),
    ...['interrupt', 'skip'].map((name) =>
      endpoint({
        method: 'post',
        path: `/sdapi/v1/${name}`,
        summary: "Ends the client's running requests of this API, which answer with their images so far.",
        answer: z.null(),
        handle: async (_, { key }) => {
          await interrupt(services, key);
          return Response.json(null);
        },
      }),
    ),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/options',
      summary: 'Names the model that the client has chosen.',
      answer: optionsAnswer,
      handle: (_, { key }) =>
        Response.json({
          sd_model_checkpoint: chosen.find(key).name,
          sd_checkpoint_hash: '',
          sd_vae: 'Automatic',
          samples_format: 'png',
          CLIP_stop_at_last_layers: 1,
        } satisfies z.output<typeof optionsAnswer>),
    }),
    endpoint({
      method: 'post',
      path: '/sdapi/v1/options',
      summary: "Chooses the model of the client's later requests. Other options are ignored.",
      body: optionsRequest,
      answer: z.null(),
      handle: ({ sd_model_checkpoint: name }, { key }) => {
        if (name !== undefined) chosen.choose(key, name);
        return Response.json(null);
      },
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/samplers',
      summary: 'Lists the solvers by the names that web UIs give them.',
      answer: samplersAnswer,
      handle: () =>
        Response.json(
          supportedSolvers(models).map((solver) => ({ name: SAMPLER_NAMES[solver], aliases: [solver], options: {} })),
        ),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/schedulers',
      summary: 'Lists the schedule types.',
      answer: schedulersAnswer,
      handle: () => Response.json(SCHEDULERS.map(schedulerEntry)),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/sd-models',
      summary: 'Lists the served models.',
      answer: sdModelsAnswer,
      handle: () =>
        Response.json(
          models.served.map(({ name }) => ({
            title: name,
            model_name: name,
            hash: null,
            sha256: null,
            filename: name,
            config: null,
          })),
        ),
    }),
    endpoint({
      method: 'post',
      path: '/sdapi/v1/refresh-checkpoints',
      summary: 'Does nothing; the models are those that the server was started with.',
      answer: z.null(),
      handle: () => Response.json(null),
    }),
    endpoint({
      method: 'get',
      path: '/sdapi/v1/memory',
      summary: "Reports the machine's memory in bytes.",
      answer: memoryAnswer,
      handle: () => {
        const [free, total] = [freemem(), totalmem()];
        return Response.json({
          ram: { free, used: total - free, total },
          cuda: { error: 'unavailable' },
        } satisfies z.output<typeof memoryAnswer>);
      },
    }),
    ...Object.entries(EMPTY).map(([path, content]) => emptyEndpoint(path, content)),
  ];
}

function schedulerEntry(label: (typeof SCHEDULERS)[number]): z.output<typeof schedulersAnswer>[number] {
  const name = label.toLowerCase();
  return { name, label, aliases: null, default_rho: label === 'Karras' ? RHO : -1, need_inner_model: false };
}

function emptyEndpoint(path: string, content: object): Endpoint {
  return endpoint({
    method: 'get',
    path,
    summary: 'Lists nothing.',
    answer: Array.isArray(content) ? z.array(z.never()) : z.looseObject({}),
    handle: () => Response.json(content),
  });
}
