import { randomUUID } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { cors } from 'hono/cors';
import { routePath } from 'hono/route';
import { secureHeaders } from 'hono/secure-headers';
import { ApiError, logFailure, toApiError } from './apiError.js';
import { ANONYMOUS, authorize, namesLoopback } from './auth.js';
import { isLoopback } from './config.js';
import { checked, jsonOf, type Endpoint } from './endpoint.js';
import { formOf } from './form.js';
import { openApi } from './openapi.js';
import { liveEndpoints } from './generateStream.js';
import { imageEndpoints } from './openai/images.js';
import { modelEndpoints } from './openai/models.js';
import { now } from './openai/answers.js';
import { operationEndpoints } from './operations.js';
import { pageRoutes, type PageFile } from './page.js';
import { sdapiEndpoints } from './sdapi/endpoints.js';
import type { Services } from './services.js';

const MAX_ID = /^[\w.:-]{1,64}$/;

/** What is known of a request. */
interface Variables {
  readonly id: string;
}

export type App = Hono<{ Variables: Variables }>;

/** All routes. @param page files of the web page by their paths */
export function createApp(services: Services, page: ReadonlyMap<string, PageFile>): App {
  const { config, log, metrics } = services;
  const app: App = new Hono();

  app.use(async (context, next) => {
    const given = context.req.header('x-request-id') ?? '';
    const id = MAX_ID.test(given) ? given : randomUUID();
    context.set('id', id);
    const start = performance.now();
    await next();
    context.res.headers.set('x-request-id', id);
    // Pages of clients show these.
    if (context.req.path.startsWith('/files/')) context.res.headers.set('cross-origin-resource-policy', 'cross-origin');
    const { method } = context.req;
    const { status } = context.res;
    const route = routeOf(context);
    metrics.requests.inc({ route, status });
    log.info({ id, method, route, status, ms: Math.round(performance.now() - start) }, 'request');
  });
  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'self'"],
        imgSrc: ["'self'", 'data:', 'blob:'],
        styleSrc: ["'self'", "'unsafe-inline'"],
        frameAncestors: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
      },
      referrerPolicy: 'no-referrer',
      xFrameOptions: 'DENY',
      strictTransportSecurity: false,
      crossOriginResourcePolicy: 'same-origin',
    }),
  );
  if (config.corsOrigins.length > 0) {
    const origin = config.corsOrigins.includes('*') ? '*' : [...config.corsOrigins];
    app.use(cors({ origin, allowHeaders: ['authorization', 'content-type'], exposeHeaders: ['x-request-id'] }));
  }
  app.use(async (context, next) => {
    // Without keys whoever can connect is served, so a page elsewhere must not be able to.
    const open = config.apiKeys.length === 0 && isLoopback(config.host);
    if (open && !namesLoopback(context.req.header('host'))) {
      throw new ApiError(
        403,
        'unknown_host',
        'expected a request to this machine by its own name, found another; use localhost',
      );
    }
    if (context.req.method === 'POST' && !isWelcome(context.req.header('origin'), context, config.corsOrigins)) {
      throw new ApiError(
        403,
        'unknown_origin',
        'expected a request of this page or of no page, found one of another origin; see --cors-origin',
      );
    }
    await next();
  });

  const endpoints: Endpoint[] = [
    ...imageEndpoints(services),
    ...modelEndpoints(services, now()),
    ...sdapiEndpoints(services),
    ...liveEndpoints(services),
    ...operationEndpoints(services),
  ];
  for (const one of endpoints) {
    const path = one.path.replace(/\{(\w+)\}/g, ':$1');
    app.on(one.method.toUpperCase(), path, async (context) => {
      const key = one.open ? ANONYMOUS : authorize(context.req.header('authorization'), config.apiKeys);
      const content =
        one.body &&
        (one.form ? await formOf(context, one.body, config.maxBodyBytes) : await jsonOf(context, config.maxBodyBytes));
      const body = one.body && checked(one.body, content);
      if (config.logPrompts) log.info({ id: context.get('id'), prompt: promptOf(body) }, 'prompt');
      const base = config.publicUrl ?? new URL(context.req.url).origin;
      const caller = { id: context.get('id'), key, signal: context.req.raw.signal, base: base.replace(/\/$/, '') };
      return one.handle(body, caller, context);
    });
  }
  const document = openApi(endpoints, config.apiKeys.length > 0);
  app.get('/openapi.json', () => Response.json(document));
  pageRoutes(app, page);

  const known = endpoints.map(({ path, method }) => ({
    pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
    method: method.toUpperCase(),
  }));
  app.notFound((context) => {
    const method = known.find(({ pattern }) => pattern.test(context.req.path))?.method;
    const error = method
      ? new ApiError(
          405,
          'method_not_allowed',
          `expected ${method} ${context.req.path}, found ${context.req.method}`,
          null,
          {
            allow: method,
          },
        )
      : new ApiError(
          404,
          'not_found',
          `expected a route of /openapi.json, found ${context.req.method} ${context.req.path}`,
        );
    return errorAnswer(error, context);
  });
  app.onError((thrown, context) => {
    logFailure(log, context.get('id'), thrown);
    return errorAnswer(toApiError(thrown), context);
  });
  return app;
}

/** Whether a page may ask: this server's own, or one of an origin that is allowed. Forms of others need no leave of a browser. */
function isWelcome(origin: string | undefined, { req }: Context, allowed: readonly string[]): boolean {
  if (origin === undefined || allowed.includes('*') || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === req.header('host');
}

/** In OpenAI's form, or, where web UIs' tools ask, in theirs. */
export function errorAnswer(error: ApiError, { req }: Context): Response {
  const body = req.path.startsWith('/sdapi/')
    ? { error: error.type, detail: error.message, errors: error.message }
    : error.body;
  return Response.json(body, { status: error.status, headers: error.headers });
}

/** The path as it is registered: names that clients make up would each be counted apart. */
function routeOf(context: Context): string {
  const path = routePath(context, -1);
  return path === '*' || path === '/*' ? 'none' : path;
}

function promptOf(body: unknown): unknown {
  return body !== null && typeof body === 'object' && 'prompt' in body ? body.prompt : undefined;
}
