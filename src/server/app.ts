import { Hono, type Context } from 'hono';
import { cors } from 'hono/cors';
import { etag } from 'hono/etag';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { requestId } from 'hono/request-id';
import { secureHeaders } from 'hono/secure-headers';
import { getPath } from 'hono/utils/url';
import { ApiError, logFailure, toApiError } from './apiError.js';
import { ANONYMOUS, authorize, authorizeOperator } from './auth.js';
import { checked, jsonOf } from './content.js';
import type { Endpoint } from './endpoint.js';
import { hasWebUiErrors, type WebUiErrorBody } from './errorBody.js';
import { fixedAnswer, type FixedAnswer, sendFixed } from './fixedAnswer.js';
import { forecastEndpoint } from './forecast.js';
import { formOf } from './form.js';
import { generateStreamEndpoint } from './generateStream.js';
import { infoEndpoint } from './info.js';
import { now } from './openai/answers.js';
import { imageEndpoints } from './openai/images.js';
import { modelEndpoints } from './openai/models.js';
import { openApi } from './openapi.js';
import { operationEndpoints } from './operations.js';
import { refuseForeignPages, refuseInvalidAddress } from './origins.js';
import { pageRoutes } from './page.js';
import { requestLog, type RequestVariables } from './requestLog.js';
import { sdapiEndpoints } from './sdapi/endpoints.js';
import type { Services } from './services.js';

const MAX_ID_LENGTH = 64;

export type App = Hono<{ Variables: RequestVariables }>;
type AppContext = Context<{ Variables: RequestVariables }>;

/** All routes of the server. @param page the files of the web page by path */
export function createApp(services: Services, page: ReadonlyMap<string, FixedAnswer>): App {
  const { config, log } = services;
  const app: App = new Hono({ getPath: (request) => plainPath(getPath(request)) });
  app.use(requestId({ limitLength: MAX_ID_LENGTH }));
  app.use(requestLog(services));
  app.use('/files/*', async (context, next) => {
    await next();
    // Clients' pages may show stored images.
    context.res.headers.set('cross-origin-resource-policy', 'cross-origin');
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
    // Without allowHeaders, any header that the page asks for: OpenAI's client sends a dozen of its own.
    app.use(cors({ origin, exposeHeaders: ['x-request-id', 'retry-after'] }));
  }
  app.use(refuseInvalidAddress);
  app.use(refuseForeignPages(config));
  app.use(methodNotAllowed({ app, onMethodNotAllowed: (context, methods) => wrongMethod(context, methods) }));

  const endpoints: Endpoint[] = [
    ...imageEndpoints(services),
    ...modelEndpoints(services, now()),
    ...sdapiEndpoints(services),
    generateStreamEndpoint(services),
    infoEndpoint(services),
    forecastEndpoint(services),
    ...operationEndpoints(services),
  ];
  for (const one of endpoints) {
    const path = one.path.replace(/\{(\w+)\}/g, ':$1');
    const method = one.method.toUpperCase();
    app.on(method, path, (context) => handle(one, services, context));
    // The base URLs that people set often lack the version.
    if (path.startsWith('/v1/')) app.on(method, path.slice('/v1'.length), (context) => handle(one, services, context));
  }
  const document = openApi(endpoints, config.apiKeys.length > 0);
  const content = new TextEncoder().encode(JSON.stringify(document));
  app.get('/openapi.json', etag(), sendFixed(fixedAnswer(content, 'application/json', 'no-cache')));
  app.route('/', pageRoutes(page));
  app.notFound((context) => {
    const found = `${context.req.method} ${context.req.path}`;
    return errorAnswer(new ApiError(404, 'not_found', `expected a route of /openapi.json, found ${found}`), context);
  });
  app.onError((thrown, context) => {
    logFailure(log, context.get('requestId'), thrown);
    return errorAnswer(toApiError(thrown), context);
  });
  return app;
}

/** A path without the slashes that clients add when they join addresses. */
function plainPath(path: string): string {
  return path.replace(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');
}

/** Authorizes the client, checks the content and calls an endpoint's handler. */
async function handle(endpoint: Endpoint, { config, log }: Services, context: AppContext): Promise<Response> {
  const { apiKeys, adminKeys, maxBodyBytes, publicUrl, logPrompts } = config;
  const { body: schema, form, open, operator } = endpoint;
  const id = context.get('requestId');
  const { headers } = context.req.raw;
  const clientKeys = apiKeys.length > 0 ? [...apiKeys, ...adminKeys] : [];
  const authorized = () => (operator ? authorizeOperator(headers, adminKeys) : authorize(headers, clientKeys));
  const key = open ? ANONYMOUS : authorized();
  const content = schema && (await (form ? formOf(context, schema, maxBodyBytes) : jsonOf(context, maxBodyBytes)));
  const body = schema && checked(schema, content);
  if (logPrompts) log.info({ id, prompt: promptOf(body) }, 'prompt');
  const base = (publicUrl ?? new URL(context.req.url).origin).replace(/\/$/, '');
  const follow = (outcome: Promise<number>) => context.set('outcome', outcome);
  return endpoint.handle(body, { id, key, signal: context.req.raw.signal, base, follow }, context);
}

function wrongMethod(context: Context, methods: readonly string[]): Response {
  const allow = methods.join(', ');
  const { path, method } = context.req;
  const message = `expected ${allow} for ${path}, found ${method}; see /openapi.json`;
  return errorAnswer(new ApiError(405, 'method_not_allowed', message, null, { allow }), context);
}

/** An error in the form of OpenAI's API, or of the web UIs' API below /sdapi/. */
function errorAnswer(error: ApiError, { req }: Context): Response {
  const body = hasWebUiErrors(req.path)
    ? ({ error: error.type, detail: error.message, errors: error.message } satisfies WebUiErrorBody)
    : error.body;
  return Response.json(body, { status: error.status, headers: error.headers });
}

function promptOf(body: unknown): unknown {
  return body !== null && typeof body === 'object' && 'prompt' in body ? body.prompt : undefined;
}
