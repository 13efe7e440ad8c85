import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { serve } from '../support/serve.js';

const { url } = await serve();

test('the OpenAPI document describes every route with its schemas', async () => {
  const document = z.object({
    openapi: z.literal('3.1.0'),
    paths: z.record(
      z.string(),
      z.record(z.string(), z.looseObject({ summary: z.string(), requestBody: z.looseObject({}).optional() })),
    ),
  });
  const { paths } = document.parse(await (await fetch(`${url}/openapi.json`)).json());
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  assert.deepEqual(routes.filter((route) => route.includes('/v1/') && !route.includes('/sdapi/')).sort(), [
    'get /srds/v1/info',
    'get /v1/models',
    'get /v1/models/{model}',
    'post /srds/v1/forecast',
    'post /srds/v1/generate',
    'post /srds/v1/models/{model}/load',
    'post /srds/v1/models/{model}/unload',
    'post /v1/images/edits',
    'post /v1/images/generations',
  ]);
  for (const route of ['post /sdapi/v1/txt2img', 'get /sdapi/v1/progress']) assert.ok(routes.includes(route));
  const text = JSON.stringify(paths['/v1/images/generations']);
  for (const field of ['partial_images', 'output_compression', 'negative_prompt', 'tolerance'])
    assert.ok(text.includes(field));
});
