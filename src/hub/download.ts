import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { HubApiError } from '@huggingface/hub';
import pRetry from 'p-retry';
import { messageOf, SrdsError, systemCode } from '../errors.js';
import { locked } from './lock.js';
import { makeFolder } from '../files/makeFolder.js';
import { authorization, explained, type RemoteFile } from './repository.js';
import type { Repository } from './name.js';
import type { HubSettings } from './settings.js';
import type { Transport } from './transport.js';

/** Retries in a row that may fail without a further byte. */
const RETRIES = 4;
/** Pause before the first retry. It doubles with each further one. */
const PAUSE_MS = 400;
/** A connection without data for this long is closed. */
const IDLE_MS = 60_000;

/** Where a download comes from, and how to report and abort it. */
export interface DownloadOptions {
  readonly repository: Repository;
  readonly commit: string;
  readonly settings: HubSettings;
  readonly transport: Transport;
  /** Called with the number of bytes of the file received so far. */
  readonly onProgress?: ((received: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Downloads a file to `target`, which is either complete or missing. Resumes an earlier download that was interrupted.
 * @throws SrdsError DOWNLOAD_FAILED, MODEL_NOT_FOUND
 */
export async function download(file: RemoteFile, target: string, options: DownloadOptions): Promise<void> {
  const name = `${file.path} of ${options.repository.name}`;
  try {
    await makeFolder(dirname(target));
    await locked(target, options.signal, async () => {
      // Another process may have downloaded it in the meantime.
      if ((await sizeOf(target)) !== file.size) await downloadWhole(file, target, name, options);
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof SrdsError) throw error;
    if (systemCode(error) !== undefined && !isTransient(error)) {
      throw unwritable(target, error);
    }
    throw explained(error, name, options.settings.endpoint, options.settings.token !== undefined);
  }
}

async function downloadWhole(file: RemoteFile, target: string, name: string, options: DownloadOptions): Promise<void> {
  const partial = `${target}.incomplete`;
  const resumed = ((await sizeOf(partial)) ?? 0) > 0;
  await downloadRest(file, partial, options);
  let wrong = await defectOf(partial, file, options.signal);
  if (wrong !== undefined && resumed) {
    // The partial file of an earlier run was not the start of this file.
    await rm(partial, { force: true });
    await downloadRest(file, partial, options);
    wrong = await defectOf(partial, file, options.signal);
  }
  if (wrong !== undefined) {
    await rm(partial, { force: true });
    throw new SrdsError('DOWNLOAD_FAILED', name, wrong, 'run again to download it again');
  }
  await rename(partial, target);
}

/** Retries for as long as each round of retries receives a further part of the file. */
async function downloadRest(file: RemoteFile, partial: string, options: DownloadOptions): Promise<void> {
  const { signal } = options;
  const retrying = {
    retries: RETRIES,
    minTimeout: PAUSE_MS,
    shouldRetry: ({ error }: { readonly error: Error }) => isTransient(error),
    ...(signal && { signal }),
  };
  while (!(await pRetry(() => downloadPart(file, partial, options), retrying))) {
    await delay(PAUSE_MS, undefined, { signal });
  }
}

/**
 * Makes one request for the rest of a file.
 * @returns whether the file is complete; false if a part was received before the connection broke
 * @throws Error if nothing was received
 */
async function downloadPart(file: RemoteFile, partial: string, options: DownloadOptions): Promise<boolean> {
  const before = (await sizeOf(partial)) ?? 0;
  if (before === file.size && before > 0) return true;
  try {
    await append(file, partial, before > file.size ? 0 : before, options);
    const after = (await sizeOf(partial)) ?? 0;
    if (after >= file.size) return true;
    throw new Error(`the answer ended after ${after} of ${file.size} bytes`);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (isTransient(error) && ((await sizeOf(partial)) ?? 0) > before) return false;
    throw error;
  }
}

/** What is wrong with a downloaded file; undefined if nothing is. */
async function defectOf(
  partial: string,
  file: RemoteFile,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const found = (await sizeOf(partial)) ?? 0;
  if (found !== file.size) return `${found} bytes instead of ${file.size}`;
  return (await hashOf(partial, file, signal)) === file.hash ? undefined : 'content with another hash';
}

/** Requests the rest of a file from byte `start` on and appends it to the partial file. */
async function append(file: RemoteFile, partial: string, start: number, options: DownloadOptions): Promise<void> {
  const { repository, commit, settings, transport, signal } = options;
  const path = file.path.split('/').map(encodeURIComponent).join('/');
  const url = `${settings.endpoint}/${repository.name}/resolve/${commit}/${path}`;
  const headers: Record<string, string> = {
    // Sizes and ranges must be those of the file, not of a compressed form.
    'accept-encoding': 'identity',
    ...authorization(url, settings.endpoint, settings.token),
    ...(start > 0 && { range: `bytes=${start}-` }),
  };
  const stalled = new AbortController();
  const idle = setTimeout(() => stalled.abort(new Error(`no data for ${IDLE_MS / 1000} s`)), IDLE_MS);
  const either = signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal;
  try {
    await receive(url, partial, start, await transport.fetch(url, { headers, signal: either }), idle, options);
  } finally {
    clearTimeout(idle);
  }
}

/** Writes a response's body. @param idle restarted with each chunk */
async function receive(
  url: string,
  partial: string,
  start: number,
  response: Response,
  idle: NodeJS.Timeout,
  { onProgress, signal }: DownloadOptions,
): Promise<void> {
  if (!response.ok) {
    await response.body?.cancel();
    throw new HubApiError(url, response.status);
  }
  const resumed = response.status === 206;
  let received = resumed ? start : 0;
  const count = new Transform({
    transform(chunk: Buffer, _, done) {
      idle.refresh();
      received += chunk.length;
      onProgress?.(received);
      done(null, chunk);
    },
  });
  const out = createWriteStream(partial, { flags: resumed ? 'a' : 'w' });
  await pipeline(response.body ?? [], count, out, ...(signal ? [{ signal }] : []));
}

/** Whether a retry may help: the connection broke, or the server is busy. */
function isTransient(error: unknown): boolean {
  if (error instanceof HubApiError) return error.statusCode === 429 || error.statusCode >= 500;
  if (error instanceof SrdsError) return false;
  const code = systemCode(error);
  return code === undefined || /^(ECONN|EPIPE|ETIMEDOUT|UND_|ERR_STREAM)/.test(code);
}

/** Size of a file in bytes; undefined if it is missing. */
export async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

/** The error for a path in the cache that cannot be written. */
export function unwritable(path: string, error: unknown): SrdsError {
  const remedy = 'free space or grant access there, or set HF_HOME';
  return new SrdsError('DOWNLOAD_FAILED', `to write ${path}`, messageOf(error), remedy, { cause: error });
}

/** SHA-256 of a large file's content; for other files git's hash, SHA-1 of a header and the content. */
async function hashOf(path: string, { large, size }: RemoteFile, signal: AbortSignal | undefined): Promise<string> {
  const hash = large ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  await pipeline(createReadStream(path), hash, ...(signal ? [{ signal }] : []));
  return hash.digest('hex');
}
