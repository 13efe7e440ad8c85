import { SrdsError } from '../../errors.js';

/** A network that a server of the Open Inference Protocol v2 runs. */
export interface Endpoint {
  readonly kind: 'oip';
  /** Address of the server, http or https, without a slash at its end. */
  readonly url: string;
  readonly model: string;
  /** Version of the model; undefined: the server's choice. */
  readonly version?: string | undefined;
}

/** What the name of an endpoint begins with. */
const OIP = 'oip+';

/** Whether a name of a device is that of an endpoint. */
export function namesEndpoint(name: string): boolean {
  return name.startsWith(OIP);
}

/** The name of an endpoint, as `parseEndpoint` reads it: `oip+http://host:8000/unet`. */
export function endpointName({ url, model, version }: Endpoint): string {
  const isPlain = new URL(url).pathname === '/';
  return `${OIP}${url}${isPlain ? '' : '/v2/models'}/${model}${version === undefined ? '' : `/versions/${version}`}`;
}

/** The protocol's address of an endpoint's server. */
export function serverUrl({ url }: Endpoint): string {
  return `${url}/v2`;
}

/** The protocol's address of an endpoint's model. */
export function modelUrl(endpoint: Endpoint): string {
  const { model, version } = endpoint;
  return `${serverUrl(endpoint)}/models/${model}${version === undefined ? '' : `/versions/${version}`}`;
}

/** The path of a model: its name alone, or as in the protocol behind what a gateway puts before it. */
const MODEL_PATH = /^(?:(.*)\/v2\/models)?\/([^/]+)(?:\/versions\/([^/]+))?\/?$/;

/**
 * Parses the name of an endpoint: `oip+http://host:8000/unet`, `oip+https://host/unet/versions/2`, or with the protocol's whole path behind
 * a prefix, `oip+https://host/gateway/v2/models/unet`.
 * @throws SrdsError INVALID_OPTION
 */
export function parseEndpoint(name: string): Endpoint {
  const text = name.slice(OIP.length);
  const url = namesEndpoint(name) && URL.canParse(text) ? new URL(text) : undefined;
  // A password in an address is shown nowhere.
  const shown = name.replace(/\/+.*@/, '//...@').replace(/[?#].*$/s, '');
  const invalid = (found: string, remedy: string) =>
    new SrdsError('INVALID_OPTION', 'an endpoint such as oip+http://host:8000/unet', found, remedy);
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw invalid(shown, 'give the address of a network, over http or https');
  if (url.username !== '' || url.password !== '')
    throw invalid(`${shown}, with a user`, 'give a token in SRDS_ENDPOINT_TOKEN instead');
  const path = MODEL_PATH.exec(url.pathname);
  if (!path || url.search !== '' || url.hash !== '')
    throw invalid(shown, 'its path names the model, and nothing comes after it');
  const [prefix, model, version] = path.slice(1) as (string | undefined)[];
  return { kind: 'oip', url: `${url.origin}${prefix ?? ''}`, model: model ?? '', version };
}
