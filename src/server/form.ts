import { Busboy } from '@fastify/busboy';
import type { Context } from 'hono';
import { z } from 'zod';
import { ApiError } from './apiError.js';
import { contentOf, requireType } from './content.js';

const LIMITS = { fields: 50, files: 4, fieldSize: 256 * 1024, headerPairs: 20 };

/**
 * Reads a form as the object that JSON would give, so that one schema checks both. Text becomes a number or a boolean where the schema
 * has one; files become bytes. The name `image[]` means `image`.
 * @throws ApiError 400, 413, 415, 499
 */
export async function formOf(context: Context, schema: z.ZodType, maxBytes: number): Promise<unknown> {
  requireType(context, 'multipart/form-data');
  const schemas = fieldSchemas(schema);
  const parts = await partsOf(context.req.header('content-type') ?? '', await contentOf(context, maxBytes));
  const fields = new Map<string, unknown>();
  for (const { name: given, value } of parts) {
    const name = given.replace(/\[\]$/, '');
    if (fields.has(name)) {
      throw new ApiError(400, 'invalid_parameter', `expected ${name} once, found it twice; send it once`, name);
    }
    fields.set(name, typeof value === 'string' ? fromText(value, schemas.get(name)) : value);
  }
  // fromEntries makes an own property of any name, `__proto__` included.
  return Object.fromEntries(fields);
}

interface Part {
  readonly name: string;
  readonly value: string | Uint8Array;
}

function partsOf(type: string, content: Buffer): Promise<Part[]> {
  return new Promise((resolve, reject) => {
    const refuse = () =>
      reject(new ApiError(400, 'invalid_form', 'expected a form, found other content; check its boundary'));
    const parts: Part[] = [];
    try {
      const parser = new Busboy({ headers: { 'content-type': type }, limits: LIMITS });
      // The parser passes on parts without a name, which its types do not say.
      const add = (name: string | undefined, value: string | Uint8Array) =>
        name === undefined ? refuse() : parts.push({ name, value });
      parser.on('field', add);
      parser.on('file', (name, stream) => {
        const chunks: Buffer[] = [];
        stream.on('error', refuse);
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => add(name, new Uint8Array(Buffer.concat(chunks))));
      });
      parser.on('error', refuse);
      parser.on('finish', () => resolve(parts));
      parser.end(content);
    } catch {
      refuse();
    }
  });
}

/** The JSON schema of each field, as text. */
function fieldSchemas(schema: z.ZodType): ReadonlyMap<string, string> {
  const { properties = {} } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return new Map(Object.entries(properties).map(([name, property]) => [name, JSON.stringify(property)]));
}

/** Text as a number or a boolean where the field's schema has one. */
function fromText(text: string, schema = ''): unknown {
  if (/"(integer|number)"/.test(schema) && /^-?\d+(\.\d+)?$/.test(text)) {
    const number = Number(text);
    // JavaScript rounds larger integers.
    return Number.isInteger(number) && !Number.isSafeInteger(number) ? text : number;
  }
  if (schema.includes('"boolean"') && /^(true|false)$/.test(text)) return text === 'true';
  return text;
}
