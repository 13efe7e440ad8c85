import { z } from 'zod';
import { FAMILIES } from '../../model/families.js';
import { endpoint, type Endpoint } from '../endpoint.js';
import type { ServedModel } from '../models.js';
import type { Services } from '../services.js';

const model = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  srds: z.object({
    kind: z.enum(FAMILIES.map(({ id }) => id)),
    width: z.int(),
    height: z.int(),
    image_to_image: z.boolean(),
    loaded: z.boolean(),
  }),
});

/** OpenAI's API for models. @param started when the server started, in seconds since 1970 */
export function modelEndpoints({ models }: Services, started: number): Endpoint[] {
  const describe = ({ name, folder }: ServedModel): z.output<typeof model> => ({
    id: name,
    object: 'model',
    created: started,
    owned_by: 'srds',
    srds: {
      kind: folder.family.id,
      ...folder.size,
      image_to_image: folder.graphs.vae_encoder !== undefined,
      loaded: models.loadedNames.includes(name),
    },
  });
  return [
    endpoint({
      method: 'get',
      path: '/v1/models',
      summary: 'Lists the served models, the default one first.',
      answer: z.object({ object: z.literal('list'), data: z.array(model) }),
      handle: () => Response.json({ object: 'list', data: models.served.map(describe) }),
    }),
    endpoint({
      method: 'get',
      path: '/v1/models/{model}',
      summary: 'Describes a model.',
      answer: model,
      handle: (_, __, context) => Response.json(describe(models.find(context.req.param('model')))),
    }),
  ];
}
