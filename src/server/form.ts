import { Busboy } from '@fastify/busboy';
import type { Context } from 'hono';
import { z } from 'zod';
import { ApiError } from './apiError.js';
import { contentOf, requireType } from './content.js';

/** Clients of OpenAI may send 16 images and a mask. */
const LIMITS = { fields: 50, files: 17, fieldSize: 256 * 1024, headerPairs: 20 };

/**
 * Reads a form as the object that JSON would give, so that one schema checks both. Text becomes a number, a boolean or a list where the
 * schema has one; files become bytes. The name `image[]` means `image`, and a list may also be sent as several fields.
 * @throws ApiError 400, 413, 415, 499
 */
export async function formOf(context: Context, schema: z.ZodType, maxBytes: number): Promise<unknown> {
  requireType(context, 'multipart/form-data');
  const schemas = fieldSchemas(schema);
  const parts = await partsOf(context.req.header('content-type') ?? '', await contentOf(context, maxBytes));
  const fields = new Map<string, unknown>();
  for (const { name: given, value } of parts) {
    const name = given.replace(/\[\]$/, '');
    const schema = schemas.get(name) ?? '';
    const content = typeof value === 'string' ? fromText(value, schema) : value;
    const before = fields.get(name);
    if (isList(schema) && (before !== undefined || given !== name)) {
      fields.set(name, [
        ...(Array.isArray(before) ? (before as unknown[]) : before === undefined ? [] : [before]),
        content,
      ]);
    } else if (fields.has(name)) {
      throw new ApiError(400, 'invalid_parameter', `expected ${name} once, found it twice; send it once`, name);
    } else fields.set(name, content);
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
    const refuseFor = (problem: string) => reject(new ApiError(400, 'invalid_form', problem));
    const refuse = () => refuseFor('expected a form, found other content; check its boundary');
    // The parser leaves out what is beyond its limits.
    const refuseMore = (most: string) => refuseFor(`expected a form with ${most}, found more; send fewer`);
    const parts: Part[] = [];
    try {
      const parser = new Busboy({ headers: { 'content-type': type }, limits: LIMITS });
      // The parser passes on parts without a name, which its types do not say.
      const add = (name: string | undefined, value: string | Uint8Array) =>
        name === undefined ? refuse() : parts.push({ name, value });
      parser.on('field', (name, value, _, isCut) =>
        isCut ? refuseMore(`at most ${LIMITS.fieldSize} bytes in a field`) : add(name, value),
      );
      parser.on('file', (name, stream) => {
        const chunks: Buffer[] = [];
        stream.on('error', refuse);
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => add(name, new Uint8Array(Buffer.concat(chunks))));
      });
      parser.on('fieldsLimit', () => refuseMore(`at most ${LIMITS.fields} fields of text`));
      parser.on('filesLimit', () => refuseMore(`at most ${LIMITS.files} files`));
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

function isList(schema: string): boolean {
  return schema.includes('"array"');
}

/** A number in JSON, and a list of such numbers. */
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const LIST = /^\s*\[[\s\d,.eE+-]*\]\s*$/;

/** Text as a number, a boolean or a list where the field's schema has one. */
function fromText(text: string, schema: string): unknown {
  if (/"(integer|number)"/.test(schema) && NUMBER.test(text)) {
    const number = Number(text);
    // JavaScript rounds larger integers.
    return /^-?\d+$/.test(text) && !Number.isSafeInteger(number) ? text : number;
  }
  if (schema.includes('"boolean"') && /^(true|false)$/.test(text)) return text === 'true';
  if (isList(schema) && LIST.test(text)) return listOf(text);
  return text;
}

function listOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
