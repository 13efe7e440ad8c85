import type { Problem } from '../local/remedies.js';
import { messageOf } from '../../errors.js';
import type { Endpoint } from './endpoint.js';
import { Misfit, remoteModel, type RemoteModel, type WantedNetwork } from './modelInterface.js';
import type { ModelMetadata, ServerMetadata } from './oip.js';
import { OIP_REMEDIES } from './oipRemedies.js';
import { OipClient, OipError, type Connection } from './oipClient.js';

/** The report on an endpoint. */
export interface EndpointReport {
  readonly endpoint: Endpoint;
  readonly server?: ServerMetadata | undefined;
  readonly metadata?: ModelMetadata | undefined;
  /** How evaluations use it; undefined if they cannot. */
  readonly model?: RemoteModel | undefined;
  /** Milliseconds of a request without tensors, the shortest of several. */
  readonly roundTrip?: number | undefined;
  /** Why it cannot be used, and the remedy; undefined if it can. */
  readonly problem?: Problem | undefined;
}

const ROUND_TRIPS = 5;

/** Asks an endpoint what it serves, and whether that is the wanted network. */
export async function inspectEndpoint(
  endpoint: Endpoint,
  connection: Connection,
  wanted: WantedNetwork,
): Promise<EndpointReport> {
  const client = new OipClient(endpoint, connection);
  let found: EndpointReport = { endpoint };
  try {
    found = { ...found, server: await client.server() };
    const [metadata, config] = await Promise.all([client.metadata(), client.config()]);
    found = { ...found, metadata };
    const model = remoteModel(metadata, config, wanted);
    const times: number[] = [];
    while (times.length < ROUND_TRIPS) {
      const start = performance.now();
      if (!(await client.isReady())) throw new OipError('busy', 'a model that is not ready');
      times.push(performance.now() - start);
    }
    return { ...found, model, roundTrip: Math.min(...times) };
  } catch (error) {
    return { ...found, problem: { why: messageOf(error), remedy: remedyFor(error) } };
  } finally {
    client.close();
  }
}

function remedyFor(error: unknown): string {
  if (error instanceof Misfit)
    return 'serve the network of this model (srds export-triton), or give --model the one it is';
  return OIP_REMEDIES[error instanceof OipError ? error.failure : 'failed'];
}
