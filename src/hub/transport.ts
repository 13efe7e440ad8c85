import { Agent, EnvHttpProxyAgent, fetch as fetchWith } from 'undici';
import type { Proxies } from './proxies.js';

/** A `fetch` of its own connections. */
export interface Transport {
  readonly fetch: typeof fetch;
  /** Closes all connections, also those of requests that go on. */
  readonly close: () => Promise<void>;
}

/** A `fetch` that goes through proxies: a tunnel for https addresses, the proxy's own requests for http addresses. */
export function openTransport({ http, https, except }: Proxies): Transport {
  const direct = new Agent();
  // An empty address is none; a missing one would be read from the environment.
  const proxied = new EnvHttpProxyAgent({
    httpProxy: http ?? '',
    httpsProxy: https ?? '',
    noProxy: except,
    proxyTunnel: false,
  });
  // undici would take the proxy of http addresses for https addresses too.
  const dispatcher = proxied.compose((dispatch) => (options, handler) => {
    const isHttps = String(options.origin).startsWith('https:');
    return isHttps && https === undefined ? direct.dispatch(options, handler) : dispatch(options, handler);
  });
  const through = (url: Parameters<typeof fetchWith>[0], init?: Parameters<typeof fetchWith>[1]) =>
    fetchWith(url, { ...init, dispatcher });
  return {
    // undici's types of requests and responses are not those of Node, although their values are alike.
    fetch: through as unknown as typeof fetch,
    close: async () => {
      await Promise.all([direct.destroy(), proxied.destroy()]);
    },
  };
}
