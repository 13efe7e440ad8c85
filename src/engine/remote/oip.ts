import { endianness } from 'node:os';
import { z } from 'zod';
import { issueOf, messageOf } from '../../errors.js';
import { sizeOf } from '../../tensor/tensor.js';

/**
 * Requests and answers of the Open Inference Protocol v2 over HTTP, with binary tensors: a JSON header, then the tensors' elements, little
 * endian and in C order. Source: KServe, "Open Inference Protocol", and its extension "binary tensor data".
 */

/** Header of HTTP that has the bytes of the JSON before the tensors. */
const JSON_LENGTH = 'inference-header-content-length';

/** Bytes of an element, by the protocol's name of the type. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = { FP16: 2, FP32: 4, INT32: 4, INT64: 8 };

/** Bytes that an element of an answer may take: as text of JSON, which is refused, it takes more than in any type. */
export const MAX_ELEMENT_BYTES = 32;

/** A tensor that a request sends. */
export interface RequestTensor {
  readonly name: string;
  /** The protocol's name of its type, such as FP32. */
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Its elements in one or several pieces, which are not copied. */
  readonly pieces: readonly Uint8Array[];
}

/** What a model should compute. */
export interface InferRequest {
  readonly id: string;
  readonly inputs: readonly RequestTensor[];
  /** Names of the outputs to return. */
  readonly outputs: readonly string[];
  /** Parameters of the request, such as `priority`. */
  readonly parameters?: Readonly<Record<string, number>> | undefined;
}

/** A request as HTTP sends it. */
export interface EncodedRequest {
  readonly headers: Readonly<Record<string, string>>;
  /** The parts of the body, in order. */
  readonly parts: readonly Uint8Array[];
}

/** A tensor of an answer. */
export interface AnswerTensor {
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Its elements, at any alignment. */
  readonly bytes: Uint8Array;
}

/** An answer that is not what the protocol says. */
export class MalformedAnswer extends Error {}

/** Encodes a request. @throws Error on a big-endian machine, whose memory has the wrong order */
export function encodeRequest({ id, inputs, outputs, parameters }: InferRequest): EncodedRequest {
  if (endianness() !== 'LE') throw new Error('binary tensors are little endian, and this machine is not');
  const header = {
    id,
    ...(parameters && { parameters }),
    inputs: inputs.map(({ name, datatype, shape, pieces }) => ({
      name,
      datatype,
      shape,
      parameters: { binary_data_size: bytesOf(pieces) },
    })),
    // JSON cannot hold NaN, so results are binary too.
    outputs: outputs.map((name) => ({ name, parameters: { binary_data: true } })),
  };
  const json = Buffer.from(JSON.stringify(header));
  const parts = [json, ...inputs.flatMap(({ pieces }) => pieces)];
  return {
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(bytesOf(parts)),
      [JSON_LENGTH]: String(json.length),
    },
    parts,
  };
}

const answerHeader = z.object({
  outputs: z.array(
    z.object({
      name: z.string(),
      datatype: z.string(),
      shape: z.array(z.int().nonnegative()),
      parameters: z.object({ binary_data_size: z.int().nonnegative().optional() }).optional(),
    }),
  ),
});

/**
 * Decodes an answer.
 * @param headers of HTTP, their names in lower case
 * @returns the outputs by name; they share the memory of `body`
 * @throws MalformedAnswer
 */
export function decodeAnswer(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  body: Uint8Array,
): ReadonlyMap<string, AnswerTensor> {
  const length = headers[JSON_LENGTH];
  if (typeof length !== 'string') throw new MalformedAnswer('no binary tensors');
  const end = /^\d{1,9}$/.test(length) ? Number(length) : Infinity;
  if (end > body.length) throw new MalformedAnswer(`${body.length} bytes, of which ${length} should be JSON`);
  const { outputs } = parsed(answerHeader, body.subarray(0, end));
  const tensors = new Map<string, AnswerTensor>();
  let at = end;
  for (const { name, datatype, shape, parameters } of outputs) {
    const size = parameters?.binary_data_size;
    if (size === undefined) throw new MalformedAnswer(`no binary tensor ${name}`);
    if (at + size > body.length) throw new MalformedAnswer(`an answer that was cut off in ${name}`);
    const expected = sizeOf(shape) * (ELEMENT_BYTES[datatype] ?? 0);
    if (datatype in ELEMENT_BYTES && size !== expected)
      throw new MalformedAnswer(`${size} bytes for ${name}, ${datatype} of shape [${shape.join(', ')}]`);
    tensors.set(name, { datatype, shape, bytes: body.subarray(at, (at += size)) });
  }
  return tensors;
}

const errorBody = z.object({ error: z.string().min(1) });

/** The message of an answer that is an error, if it has one. */
export function errorIn(body: Uint8Array): string | undefined {
  try {
    return parsed(errorBody, body).error;
  } catch {
    return undefined;
  }
}

const tensorMetadata = z.object({ name: z.string(), datatype: z.string(), shape: z.array(z.coerce.number().int()) });

/** What `GET /v2/models/MODEL` returns. An axis of any length is -1. */
const modelMetadata = z.object({
  name: z.string(),
  versions: z.array(z.string()).nullish(),
  platform: z.string().default(''),
  inputs: z.array(tensorMetadata),
  outputs: z.array(tensorMetadata),
});

export type TensorMetadata = z.output<typeof tensorMetadata>;
export type ModelMetadata = z.output<typeof modelMetadata>;

/** What `GET /v2/models/MODEL/config` returns; an extension of Triton. Parameters are those of the backend, and further ones. */
const modelConfig = z.object({
  /** 0: the shapes of the metadata are complete, and requests are not batched. */
  max_batch_size: z.coerce.number().int().nonnegative().default(0),
  dynamic_batching: z.object({ priority_levels: z.coerce.number().int().nonnegative().default(0) }).nullish(),
  instance_group: z
    .array(
      z.object({
        kind: z.string().default(''),
        count: z.coerce.number().int().positive().default(1),
        gpus: z.array(z.number()).default([]),
      }),
    )
    .default([]),
  parameters: z.record(z.string(), z.object({ string_value: z.string().default('') })).default({}),
});

export type ModelConfig = z.output<typeof modelConfig>;

/** What `GET /v2` returns. */
const serverMetadata = z.object({ name: z.string().default(''), version: z.string().default('') });

export type ServerMetadata = z.output<typeof serverMetadata>;

/** Reads the metadata of a model. @throws MalformedAnswer */
export function readModelMetadata(body: Uint8Array): ModelMetadata {
  return parsed(modelMetadata, body);
}

/** Reads the configuration of a model. @throws MalformedAnswer */
export function readModelConfig(body: Uint8Array): ModelConfig {
  return parsed(modelConfig, body);
}

/** Reads the metadata of a server. @throws MalformedAnswer */
export function readServerMetadata(body: Uint8Array): ServerMetadata {
  return parsed(serverMetadata, body);
}

function parsed<Output>(schema: z.ZodType<Output>, body: Uint8Array): Output {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8'));
  } catch (error) {
    throw new MalformedAnswer(`no JSON (${messageOf(error)})`);
  }
  const { success, data, error } = schema.safeParse(json);
  if (success) return data;
  throw new MalformedAnswer(`JSON of another form (${issueOf(error.issues[0])})`);
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}
