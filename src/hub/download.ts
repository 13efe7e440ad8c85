import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { HubApiError } from '@huggingface/hub';
import { messageOf, SrdsError, systemCode } from '../errors.js';
import { explained, type RemoteFile, type Repository } from './repository.js';
import type { HubSettings } from './settings.js';

/** Times that a connection that breaks is taken up again. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;

/** What a download is told. */
export interface DownloadOptions {
  readonly repository: Repository;
  readonly commit: string;
  readonly settings: HubSettings;
  /** Called with the bytes of the file that are there so far. */
  readonly onProgress?: ((received: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fetches a file's content to `target`, which is whole or not there. What an earlier download left unfinished is taken up
 * where it ended.
 * @throws SrdsError DOWNLOAD_FAILED, MODEL_NOT_FOUND
 */
export async function download(file: RemoteFile, target: string, options: DownloadOptions): Promise<void> {
  const partial = `${target}.incomplete`;
  const { signal } = options;
  const name = `${file.path} of ${options.repository.name}`;
  try {
    await mkdir(dirname(target), { recursive: true });
    for (let attempt = 1; (await sizeOf(partial)) < file.size || attempt === 1; attempt++) {
      const before = await sizeOf(partial);
      try {
        if (before < file.size || file.size === 0) await append(file, partial, before, options);
      } catch (error) {
        signal?.throwIfAborted();
        const progressed = (await sizeOf(partial)) > before;
        if (attempt >= ATTEMPTS || !isTransient(error)) throw error;
        if (progressed) attempt = 1;
        await delay(FIRST_PAUSE_MS * 2 ** attempt, undefined, { signal });
      }
    }
    const found = await sizeOf(partial);
    const wrong =
      found !== file.size
        ? `${found} bytes instead of ${file.size}`
        : file.large && (await sha256(partial)) !== file.hash
          ? 'content with another hash'
          : undefined;
    if (wrong !== undefined) {
      await rm(partial, { force: true });
      throw new SrdsError('DOWNLOAD_FAILED', name, wrong, 'run again; it is fetched anew');
    }
    await rename(partial, target);
  } catch (error) {
    signal?.throwIfAborted();
    if (systemCode(error) !== undefined && !isTransient(error)) {
      throw new SrdsError('DOWNLOAD_FAILED', `to write ${target}`, messageOf(error), 'make room, or set HF_HOME', {
        cause: error,
      });
    }
    throw explained(error, name, options.settings.endpoint, options.settings.token !== undefined);
  }
}

/** Gets the rest of a file from `start` on and adds it to what is there. */
async function append(file: RemoteFile, partial: string, start: number, options: DownloadOptions): Promise<void> {
  const { repository, commit, settings, onProgress, signal } = options;
  const path = file.path.split('/').map(encodeURIComponent).join('/');
  const url = `${settings.endpoint}/${repository.name}/resolve/${commit}/${path}`;
  const headers: Record<string, string> = {
    // Sizes and ranges are those of the file, not of a compressed form.
    'accept-encoding': 'identity',
    ...(settings.token !== undefined && { authorization: `Bearer ${settings.token}` }),
    ...(start > 0 && { range: `bytes=${start}-` }),
  };
  const response = await fetch(url, { headers, signal: signal ?? null });
  if (!response.ok) {
    await response.body?.cancel();
    throw new HubApiError(url, response.status);
  }
  const resumed = response.status === 206;
  let received = resumed ? start : 0;
  const count = new Transform({
    transform(chunk: Buffer, _, done) {
      received += chunk.length;
      onProgress?.(received);
      done(null, chunk);
    },
  });
  const body = response.body ? Readable.fromWeb(response.body) : Readable.from([]);
  const out = createWriteStream(partial, { flags: resumed ? 'a' : 'w' });
  await pipeline(body, count, out, ...(signal ? [{ signal }] : []));
}

/** Whether trying again may help: the connection broke, or the server is busy. */
function isTransient(error: unknown): boolean {
  if (error instanceof HubApiError) return error.statusCode === 429 || error.statusCode >= 500;
  if (error instanceof SrdsError) return false;
  const code = systemCode(error);
  return code === undefined || /^(ECONN|EPIPE|ETIMEDOUT|UND_|ERR_STREAM)/.test(code);
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
