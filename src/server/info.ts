import type { ModelFolder } from '../model/modelFolder.js';
import { formOf } from '../pipeline/options/form.js';
import { GENERATION_OPTIONS, SAMPLER_CHOICES, SAMPLER_NAMES } from '../pipeline/options/generation.js';
import { version } from '../version.js';
import type { ServerConfig } from './config.js';
import { endpoint, type Endpoint } from './endpoint.js';
import { pixelLimit } from './imageSize.js';
import { infoAnswer, type Info } from './infoAnswer.js';
import { requestLimits } from './openai/schemas.js';
import type { Services } from './services.js';
import { supportedSolvers } from './supportedSolvers.js';

/** Steps and guidance that a form starts with for a model. */
function initialOf({ defaults }: ModelFolder, { requests, maxSteps }: ServerConfig): Info['models'][number]['initial'] {
  const { steps, guidance } = GENERATION_OPTIONS;
  return {
    steps: Math.min(requests.steps ?? defaults.steps ?? steps.control.initial, maxSteps),
    guidance: requests.guidance ?? defaults.guidance ?? guidance.default,
  };
}

/** The route that describes the server to the page: its models, samplers, solvers and limits. */
export function infoEndpoint({ config, models }: Services): Endpoint {
  return endpoint({
    method: 'get',
    path: '/srds/v1/info',
    summary: 'Lists what a request may ask for.',
    answer: infoAnswer,
    handle: () => {
      const info: Info = {
        version: version(),
        models: models.served.map(({ name, folder }) => ({
          name,
          ...folder.size,
          pixels: pixelLimit(folder, config.maxPixels),
          sizeStep: folder.sizeStep,
          imageToImage: folder.graphs.vae_encoder !== undefined,
          initial: initialOf(folder, config),
        })),
        samplers: [...SAMPLER_CHOICES],
        solvers: supportedSolvers(models).map((name) => ({ name, title: SAMPLER_NAMES[name] })),
        limits: { steps: config.maxSteps },
        form: formOf(GENERATION_OPTIONS, {
          limits: requestLimits(config),
          choices: { solver: supportedSolvers(models) },
          defaults: { ...config.requests, ...initialOf(models.served[0].folder, config) },
        }),
      };
      return Response.json(info);
    },
  });
}
