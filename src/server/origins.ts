import type { Context, MiddlewareHandler } from 'hono';
import { ApiError } from './apiError.js';
import { isLoopback, type ServerConfig } from './config.js';

/** Refuses requests whose Host header and path are no address, such as a host of 127.0.0.256. */
export const refuseInvalidAddress: MiddlewareHandler = async ({ req }, next) => {
  if (!URL.canParse(req.url)) {
    throw new ApiError(400, 'bad_request', 'expected a host name or address in Host, found another text; correct it');
  }
  await next();
};

/**
 * Refuses requests that other sites' pages send. A server without keys accepts loopback names only, because a page can point its own
 * name to this machine (DNS rebinding). A POST must come from this server's page, an allowed origin, or no page at all, because
 * browsers send forms to any origin.
 */
export function refuseForeignPages({
  apiKeys,
  host,
  corsOrigins,
}: Pick<ServerConfig, 'apiKeys' | 'host' | 'corsOrigins'>): MiddlewareHandler {
  const loopbackOnly = apiKeys.length === 0 && isLoopback(host);
  return async (context, next) => {
    const { req } = context;
    if (loopbackOnly && !namesLoopback(req.header('host'))) {
      throw new ApiError(403, 'unknown_host', 'expected a loopback name in Host, found another; use localhost');
    }
    if (req.method === 'POST' && !isAllowed(req.header('origin'), context, corsOrigins)) {
      const message = "expected a request of this server's page, found one of another origin; see --cors-origin";
      throw new ApiError(403, 'unknown_origin', message);
    }
    await next();
  };
}

function namesLoopback(host: string | undefined): boolean {
  const name = (host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return isLoopback(name.toLowerCase());
}

function isAllowed(origin: string | undefined, { req }: Context, allowed: readonly string[]): boolean {
  if (origin === undefined || allowed.includes('*') || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === req.header('host');
}
