import { context, propagation, SpanKind, SpanStatusCode, trace, type Attributes, type Span } from '@opentelemetry/api';
import { version } from '../version.js';

/** Spans of OpenTelemetry. They cost nothing unless the process has registered an SDK; `startTracing` does so for `srds serve`. */
const tracer = trace.getTracer('srds', version());

/** Starts a span below the current one. The caller ends it. */
export function startSpan(name: string, attributes: Attributes = {}): Span {
  return tracer.startSpan(name, { attributes });
}

/** Runs work in a span below the current one, which fails if the work does. */
export function traced<Value>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<Value>,
): Promise<Value> {
  return tracer.startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}

/**
 * Runs the handling of a request in a span, below that of the client if its headers name one. `endRequest` ends it.
 * @param headers of the request
 */
export async function tracedRequest(headers: Headers, work: (span: Span) => Promise<void>): Promise<void> {
  const parent = propagation.extract(context.active(), Object.fromEntries(headers));
  const span = tracer.startSpan('request', { kind: SpanKind.SERVER }, parent);
  try {
    await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    span.end();
    throw error;
  }
}

/** Names and ends the span of a request, once its status is known. */
export function endRequest(
  span: Span,
  { id, method, route, status }: { id: string; method: string; route: string; status: number },
): void {
  span.updateName(`${method} ${route}`);
  span.setAttributes({
    'http.request.method': method,
    'http.route': route,
    'http.response.status_code': status,
    'srds.request.id': id,
  });
  if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}
