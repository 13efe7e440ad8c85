import { z } from 'zod';
import { endpoint, type Endpoint } from './endpoint.js';
import { ApiError } from './apiError.js';
import type { Services } from './services.js';

const health = z.object({ status: z.enum(['ok', 'starting', 'unavailable', 'draining']) });
const modelHealth = z.object({
  status: z.enum(['loaded', 'loading', 'unloaded', 'failed', 'unavailable', 'draining']),
});

/** Routes for operators, and the stored images. */
export function operationEndpoints({ metrics, models, draining, stored, stop }: Services): Endpoint[] {
  return [
    endpoint({
      method: 'get',
      path: '/healthz/live',
      summary: 'Reports that the process is alive.',
      answer: health,
      open: true,
      handle: () => Response.json({ status: 'ok' }),
    }),
    endpoint({
      method: 'get',
      path: '/healthz/ready',
      summary:
        'Reports whether the server serves requests for the default model: 503 until it is loaded, while it cannot be opened or its devices run nothing, and while the server shuts down.',
      answer: health,
      others: { 503: health },
      open: true,
      handle: () => {
        const status = draining() ? 'draining' : models.readiness;
        return Response.json({ status }, { status: status === 'ok' ? 200 : 503 });
      },
    }),
    endpoint({
      method: 'get',
      path: '/healthz/ready/{model}',
      summary: 'Reports whether the server serves requests for a model; one that is not loaded is loaded by a request.',
      answer: modelHealth,
      others: { 503: modelHealth },
      open: true,
      handle: (_, __, context) => {
        const model = models.served.find(({ name }) => name === context.req.param('model'));
        // Names of models are for clients with a key.
        if (!model)
          throw new ApiError(404, 'model_not_found', 'expected a model of this server, found another', 'model');
        const status = draining() ? 'draining' : models.status(model);
        return Response.json({ status }, { status: status === 'loaded' || status === 'unloaded' ? 200 : 503 });
      },
    }),
    endpoint({
      method: 'post',
      path: '/srds/v1/models/{model}/load',
      summary: 'Loads a model, as a request for it would, and waits for it.',
      answer: modelHealth,
      generates: true,
      operator: true,
      handle: async (_, { signal }, context) => {
        const model = models.find(context.req.param('model'));
        await models.preload(model, AbortSignal.any([signal, stop]));
        return Response.json({ status: models.status(model) });
      },
    }),
    endpoint({
      method: 'post',
      path: '/srds/v1/models/{model}/unload',
      summary: 'Unloads a model when its running requests are done. A later request loads it again.',
      answer: modelHealth,
      operator: true,
      handle: async (_, __, context) => {
        const model = models.find(context.req.param('model'));
        await models.unload(model);
        return Response.json({ status: models.status(model) });
      },
    }),
    endpoint({
      method: 'get',
      path: '/metrics',
      summary: "Metrics in Prometheus's format.",
      answer: z.string(),
      type: 'text/plain',
      handle: async () =>
        new Response(await metrics.registry.metrics(), { headers: { 'content-type': metrics.registry.contentType } }),
    }),
    endpoint({
      method: 'get',
      path: '/files/{name}',
      summary: 'Returns an image that a request asked for as a URL.',
      answer: z.unknown().meta({ type: 'string', format: 'binary' }),
      type: 'image/*',
      // The name is unguessable and serves as the key.
      open: true,
      handle: (_, __, context) => {
        const image = stored.get(context.req.param('name') ?? '');
        if (!image) {
          throw new ApiError(
            404,
            'not_found',
            'expected the name of an image of the last hour, found another; generate it again',
          );
        }
        return new Response(new Uint8Array(image.bytes), { headers: { 'content-type': image.type } });
      },
    }),
  ];
}
