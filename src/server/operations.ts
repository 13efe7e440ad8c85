import { z } from 'zod';
import { endpoint, type Endpoint } from './endpoint.js';
import { ApiError } from './apiError.js';
import type { Services } from './services.js';

const health = z.object({ status: z.enum(['ok', 'starting', 'draining']) });

/** What those who run the server ask for. */
export function operationEndpoints({ metrics, models, draining, stored }: Services): Endpoint[] {
  return [
    endpoint({
      method: 'get',
      path: '/healthz/live',
      summary: 'Whether the process answers at all.',
      answer: health,
      open: true,
      handle: () => Response.json({ status: 'ok' }),
    }),
    endpoint({
      method: 'get',
      path: '/healthz/ready',
      summary: 'Whether requests are taken: 503 while the first model is loading and while the server is being ended.',
      answer: health,
      open: true,
      handle: () => {
        const status = draining() ? 'draining' : models.ready ? 'ok' : 'starting';
        return Response.json({ status }, { status: status === 'ok' ? 200 : 503 });
      },
    }),
    endpoint({
      method: 'get',
      path: '/metrics',
      summary: 'Metrics, as Prometheus reads them.',
      answer: z.string(),
      handle: async () =>
        new Response(await metrics.registry.metrics(), { headers: { 'content-type': metrics.registry.contentType } }),
    }),
    endpoint({
      method: 'get',
      path: '/files/{name}',
      summary: 'An image that was asked for as an address.',
      answer: z.unknown(),
      // Its name is the key.
      open: true,
      handle: (_, __, context) => {
        const image = stored.get(context.req.param('name') ?? '');
        if (!image) {
          throw new ApiError(
            404,
            'not_found',
            'expected an image of the last hour, found none of that name; draw it again',
          );
        }
        return new Response(new Uint8Array(image.bytes), { headers: { 'content-type': image.type } });
      },
    }),
  ];
}
