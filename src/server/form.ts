import type { Context } from 'hono';
import { z } from 'zod';
import { ApiError } from './apiError.js';
import { contentOf, requireType } from './endpoint.js';

/**
 * A form's content as JSON would have it, for one schema to check both: numbers and booleans are read where the schema has
 * them, files are bytes, and of `image` and `image[]` the first is taken.
 * @throws ApiError 400, 413, 415
 */
export async function formOf(context: Context, schema: z.ZodType, maxBytes: number): Promise<unknown> {
  requireType(context, 'multipart/form-data');
  const content = await contentOf(context, maxBytes);
  const headers = { 'content-type': context.req.header('content-type') ?? '' };
  const form = await new Response(new Uint8Array(content), { headers }).formData().catch(() => {
    throw new ApiError(400, 'invalid_form', 'expected a form, found content that is none; check its boundary');
  });
  const kinds = kindsOf(schema);
  const fields: Record<string, unknown> = {};
  for (const [given, value] of form.entries()) {
    const name = given.replace(/\[\]$/, '');
    if (Object.hasOwn(fields, name)) {
      throw new ApiError(400, 'invalid_parameter', `expected ${name} once, found it again; leave one away`, name);
    }
    fields[name] =
      typeof value === 'string' ? fromText(value, kinds.get(name)) : new Uint8Array(await value.arrayBuffer());
  }
  return fields;
}

/** What the fields of a schema are in JSON. */
function kindsOf(schema: z.ZodType): ReadonlyMap<string, string> {
  const { properties = {} } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return new Map(Object.entries(properties).map(([name, property]) => [name, JSON.stringify(property)]));
}

function fromText(text: string, kind = ''): unknown {
  if (/"(integer|number)"/.test(kind) && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (kind.includes('"boolean"') && /^(true|false)$/.test(text)) return text === 'true';
  return text;
}
