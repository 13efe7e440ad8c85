import type { Context } from 'hono';
import type { z } from 'zod';

/** The client of a request. */
export interface Caller {
  /** The id of the request. */
  readonly id: string;
  /** The name of the API key. */
  readonly key: string;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  /** The address of this server, as clients reach it. */
  readonly base: string;
  /** Sets the final status of a streamed answer, for the log and the metrics. */
  readonly follow: (outcome: Promise<number>) => void;
}

/** A route. Its schemas check requests and describe the route at /openapi.json. */
export interface Endpoint<Body = unknown> {
  readonly method: 'get' | 'post';
  /** As in OpenAPI: `/v1/models/{model}`. */
  readonly path: string;
  readonly summary: string;
  /** The request's content, if the route takes any. */
  readonly body?: z.ZodType<Body>;
  /** Whether the content is a form; the default is JSON. */
  readonly form?: boolean;
  /** The content of a successful answer; absent if it is always a stream. */
  readonly answer?: z.ZodType;
  /** The media type of a successful answer; default: JSON. */
  readonly type?: string;
  /** The payloads of the events, if the route can stream. */
  readonly events?: z.ZodType;
  /** The content of answers of other statuses that are no errors. */
  readonly others?: Readonly<Record<number, z.ZodType>>;
  /** Whether the route generates images, in its turn. */
  readonly generates?: boolean;
  /** Whether the route needs no API key. */
  readonly open?: boolean;
  /** Whether the route needs the key of an operator. */
  readonly operator?: boolean;
  readonly handle: (body: Body, caller: Caller, context: Context) => Response | Promise<Response>;
}

/** Checks that a handler accepts the output of its schema, then erases the body's type. */
export function endpoint<Body>(given: Endpoint<Body>): Endpoint {
  return given as unknown as Endpoint;
}
