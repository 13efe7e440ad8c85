import { SrdsError } from '../errors.js';
import type { Environment } from './environment.js';

/** Proxies by the protocol of the address that is requested. */
export interface Proxies {
  /** Address of the proxy; undefined for direct requests. */
  readonly http: string | undefined;
  readonly https: string | undefined;
  /** Hosts that are requested directly, separated by commas, as in NO_PROXY. */
  readonly except: string;
}

/**
 * Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Names in lower case win, and an empty value means none.
 * Source: Python's urllib.request.getproxies_environment; httpx, get_environment_proxies.
 * @throws SrdsError INVALID_OPTION if an address is malformed
 */
export function proxiesOf(env: Environment): Proxies {
  const read = (name: string) => env[name.toLowerCase()] ?? env[name] ?? '';
  const except = read('NO_PROXY');
  if (except.split(/[,\s]+/).includes('*')) return { http: undefined, https: undefined, except };
  const proxyFor = (name: string): string | undefined => {
    const used = read(name) ? name : 'ALL_PROXY';
    const given = read(used).trim();
    if (given === '') return undefined;
    const address = given.includes('://') ? given : `http://${given}`;
    if (/^https?:\/\/[^/]/.test(address) && URL.canParse(address)) return address;
    // The address may hold a password.
    const found = `"${given.replace(/\/\/[^/]*@/, '//')}"`;
    throw new SrdsError(
      'INVALID_OPTION',
      `the http address of a proxy in ${used}`,
      found,
      'unset it or set an http address',
    );
  };
  return { http: proxyFor('HTTP_PROXY'), https: proxyFor('HTTPS_PROXY'), except };
}
