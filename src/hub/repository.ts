import { HubApiError, listFiles, modelInfo } from '@huggingface/hub';
import { messageOf, SrdsError } from '../errors.js';
import type { Repository } from './name.js';
import type { HubSettings } from './settings.js';
import type { Transport } from './transport.js';

/** A file of a repository at a commit. */
export interface RemoteFile {
  readonly path: string;
  /** Size in bytes. */
  readonly size: number;
  /** Hash that names the content in the cache: SHA-256 for large files, git's hash for others. */
  readonly hash: string;
  /** Whether the file is stored in LFS. */
  readonly large: boolean;
}

/**
 * Lists the files of a repository at its revision's commit.
 * @throws SrdsError MODEL_NOT_FOUND if there is no readable repository; DOWNLOAD_FAILED if the hub cannot be reached
 */
export async function listRepository(
  { name, revision }: Repository,
  { endpoint, token }: HubSettings,
  transport: Transport,
  signal: AbortSignal | undefined,
): Promise<{ readonly commit: string; readonly files: readonly RemoteFile[] }> {
  const common = {
    hubUrl: endpoint,
    // The token goes to the hub only, not to hosts that its answers link to.
    fetch: ((url, init) => {
      const headers = {
        ...(init?.headers as Record<string, string> | undefined),
        ...authorization(url, endpoint, token),
      };
      return transport.fetch(url, { ...init, headers, signal: signal ?? null });
    }) as typeof fetch,
  };
  try {
    const { sha: commit } = await modelInfo({ name, revision, additionalFields: ['sha'], ...common });
    const files: RemoteFile[] = [];
    for await (const entry of listFiles({ repo: name, revision: commit, recursive: true, ...common })) {
      const { type, path, size, oid, lfs } = entry;
      if (type !== 'file') continue;
      const hash = lfs ? lfs.oid : (oid ?? '');
      if (!(lfs ? SHA256 : SHA1).test(hash) || !isPlain(path)) throw malformed(`a file ${path} of hash "${hash}"`);
      files.push({ path, size: lfs?.size ?? size, hash, large: lfs !== undefined });
    }
    if (!SHA1.test(commit)) throw malformed(`the commit "${commit}"`);
    return { commit, files };
  } catch (error) {
    signal?.throwIfAborted();
    throw explained(error, `${name}@${revision}`, endpoint, token !== undefined);
  }
}

const SHA1 = /^[0-9a-f]{40}$/;
const SHA256 = /^[0-9a-f]{64}$/;

/** Whether a path stays inside the folder that it is relative to. */
function isPlain(path: string): boolean {
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\\'));
}

function malformed(found: string): SrdsError {
  return new SrdsError(
    'DOWNLOAD_FAILED',
    'a listing of the repository',
    found,
    'check HF_ENDPOINT: its answer is not that of a hub',
  );
}

/** The authorization header with the token, for requests to the hub's own origin. */
export function authorization(
  url: string | URL | Request,
  endpoint: string,
  token: string | undefined,
): Record<string, string> {
  const target = new URL(url instanceof Request ? url.url : url);
  return token !== undefined && target.origin === new URL(endpoint).origin ? { authorization: `Bearer ${token}` } : {};
}

/** The error for a failed request to the hub. @param what what was requested @param hasToken whether a token was sent */
export function explained(error: unknown, what: string, endpoint: string, hasToken: boolean): SrdsError {
  if (error instanceof SrdsError) return error;
  if (!(error instanceof HubApiError)) {
    const { cause } = error as { cause?: unknown };
    return new SrdsError(
      'DOWNLOAD_FAILED',
      `to reach ${endpoint} for ${what}`,
      cause instanceof Error ? `${messageOf(error)}: ${messageOf(cause)}` : messageOf(error),
      'check the network, HF_ENDPOINT and the proxy, or give --model the path of a folder',
      { cause: error },
    );
  }
  const { statusCode } = error;
  if (statusCode === 401 || statusCode === 403 || statusCode === 404) {
    return new SrdsError(
      'MODEL_NOT_FOUND',
      `a model ${what} on ${endpoint}`,
      statusCode === 404 ? 'none (404)' : `one that may not be read, or none (${statusCode})`,
      hasToken
        ? 'check the name and the revision, and that HF_TOKEN may read it'
        : 'check the name and the revision; set HF_TOKEN if it is private or gated',
      { cause: error },
    );
  }
  return new SrdsError(
    'DOWNLOAD_FAILED',
    `an answer from ${endpoint} about ${what}`,
    `status ${statusCode}`,
    'try again later',
    { cause: error },
  );
}
