import type { Context, MiddlewareHandler } from 'hono';
import type { RequestIdVariables } from 'hono/request-id';
import { routePath } from 'hono/route';
import type { Services } from './services.js';
import { endRequest, tracedRequest } from './tracing.js';

/** What handlers know of a request. */
export interface RequestVariables extends RequestIdVariables {
  /** The status that a stream turns out to have, which began with 200. */
  readonly outcome?: Promise<number>;
}

/** Logs, counts and traces each request when its status is known, and returns its id in `X-Request-Id`. */
export function requestLog({
  log,
  metrics,
}: Pick<Services, 'log' | 'metrics'>): MiddlewareHandler<{ Variables: RequestVariables }> {
  return (context, next) =>
    tracedRequest(context.req.raw.headers, async (span) => {
      const start = performance.now();
      await next();
      const id = context.get('requestId');
      // Hono does not add headers that were set earlier to a Response that a handler made.
      context.res.headers.set('x-request-id', id);
      const { method } = context.req;
      const route = routeOf(context);
      const end = (status: number) => {
        metrics.requests.inc({ route, status });
        log.info({ id, method, route, status, ms: Math.round(performance.now() - start) }, 'request');
        endRequest(span, { id, method, route, status });
      };
      const outcome = context.get('outcome');
      if (outcome) void outcome.then(end);
      else end(context.res.status);
    });
}

/** The registered path: a metric must not have a label for each path that clients make up. */
function routeOf(context: Context): string {
  const path = routePath(context, -1);
  return path === '*' || path === '/*' ? 'none' : path;
}
