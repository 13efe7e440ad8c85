import { z } from 'zod';
import { version } from '../version.js';
import type { Endpoint } from './endpoint.js';
import { errorBody, hasWebUiErrors, webUiErrorBody } from './errorBody.js';

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
    components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
  };
}

function operation(endpoint: Endpoint, keys: boolean): object {
  const {
    path,
    summary,
    body,
    form,
    answer,
    type = 'application/json',
    events,
    others = {},
    open,
    operator,
  } = endpoint;
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const content = (schema: z.ZodType, io: 'input' | 'output') => ({
    schema: z.toJSONSchema(schema, { io, unrepresentable: 'any', override: withoutPrefixItems }),
  });
  const json = (schema: z.ZodType) => ({ 'application/json': content(schema, 'output') });
  const error = { description: 'an error', content: json(hasWebUiErrors(path) ? webUiErrorBody : errorBody) };
  return {
    summary,
    ...((operator ?? (keys && open !== true)) && { security: [{ key: [] }] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: true,
        content: { [form ? 'multipart/form-data' : 'application/json']: content(body, 'input') },
      },
    }),
    responses: {
      200: {
        description: 'done',
        content: {
          ...(answer && { [type]: content(answer, 'output') }),
          ...(events && { 'text/event-stream': { schema: eventOf(content(events, 'output').schema) } }),
        },
      },
      ...Object.fromEntries(errorStatuses(endpoint, keys).map((status) => [status, error])),
      ...Object.fromEntries(
        Object.entries(others).map(([status, schema]) => [status, { description: 'not so', content: json(schema) }]),
      ),
      default: error,
    },
  };
}

/** One event of a stream, as OpenAPI 3.2 describes them. @param payload its data, which are JSON in a string */
function eventOf(payload: object): object {
  const data = { type: 'string', contentMediaType: 'application/json', contentSchema: payload };
  return { type: 'object', properties: { event: { type: 'string' }, data }, required: ['event', 'data'] };
}

/** Describes tuples, whose items are alike, by those: not every tool knows `prefixItems`. */
function withoutPrefixItems({ jsonSchema }: { readonly jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (!jsonSchema.prefixItems) return;
  [jsonSchema.items] = jsonSchema.prefixItems;
  delete jsonSchema.prefixItems;
}

/** Statuses of the errors that clients should expect. Any request may meet further ones, such as 405 and 500. */
function errorStatuses({ path, body, generates, open, operator }: Endpoint, keys: boolean): number[] {
  return [
    ...(body ? [400, 413, 415] : []),
    ...((keys && open !== true) || operator ? [401] : []),
    403,
    ...(path.includes('{') || generates ? [404] : []),
    ...(generates ? [429, 503, 504] : []),
  ];
}
