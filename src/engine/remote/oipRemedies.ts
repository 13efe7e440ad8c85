import type { OipFailure } from './oipClient.js';

/** What to do about a request that failed. */
export const OIP_REMEDIES: Readonly<Record<OipFailure, string>> = {
  unreachable: 'start the server, check its address, http or https, or leave the endpoint out',
  timeout: 'check the server and the network between, or leave the endpoint out',
  untrusted: 'give the certificate of its authority with --endpoint-ca',
  busy: 'give the server more instances or a longer queue, or ask for less at once',
  denied: 'give the token that the server asks for in SRDS_ENDPOINT_TOKEN, or its header with --endpoint-header',
  missing: 'check the name of the model, its version, and the path before it',
  refused: 'see the log of the server; srds doctor --device shows what it serves',
  failed: 'see the log of the server; srds doctor --device shows what it serves',
  malformed: 'see the log of the server, and check that its port is that of the Open Inference Protocol over HTTP',
};
