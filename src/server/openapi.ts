import { z } from 'zod';
import { version } from '../version.js';
import type { Endpoint } from './endpoint.js';
import { errorBody } from './errorBody.js';

/** The OpenAPI document of the routes, from the schemas that check requests. @param keys whether clients need an API key */
export function openApi(endpoints: readonly Endpoint[], keys: boolean): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const one of endpoints) {
    (paths[one.path] ??= {})[one.method] = operation(one, keys);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'srds',
      version: version(),
      description: 'Images from diffusion models, sampled in parallel over time, by the OpenAI images API and others.',
    },
    paths,
    ...(keys && { components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } } }),
  };
}

function operation({ path, summary, body, form, answer, events, open }: Endpoint, keys: boolean): object {
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const json = (schema: z.ZodType, io: 'input' | 'output') => ({
    schema: z.toJSONSchema(schema, { io, unrepresentable: 'any' }),
  });
  return {
    summary,
    ...(keys && open !== true && { security: [{ key: [] }] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: true,
        content: { [form ? 'multipart/form-data' : 'application/json']: json(body, 'input') },
      },
    }),
    responses: {
      200: {
        description: 'done',
        content: {
          'application/json': json(answer, 'output'),
          ...(events && { 'text/event-stream': json(events, 'output') }),
        },
      },
      default: { description: 'an error', content: { 'application/json': json(errorBody, 'output') } },
    },
  };
}
