import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { HubApiError } from '@huggingface/hub';
import { messageOf, SrdsError, systemCode } from '../errors.js';
import { locked } from './lock.js';
import { makeFolder } from './makeFolder.js';
import { authorization, explained, type RemoteFile } from './repository.js';
import type { Repository } from './name.js';
import type { HubSettings } from './settings.js';

/** Times that a connection that breaks is taken up again. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;
/** A connection on which nothing comes for so long is given up. */
const IDLE_MS = 60_000;

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
  const name = `${file.path} of ${options.repository.name}`;
  try {
    await makeFolder(dirname(target));
    await locked(target, options.signal, async () => {
      // Another process may have fetched it meanwhile.
      if ((await sizeOf(target)) !== file.size) await fetchWhole(file, target, name, options);
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

async function fetchWhole(file: RemoteFile, target: string, name: string, options: DownloadOptions): Promise<void> {
  const partial = `${target}.incomplete`;
  const resumed = ((await sizeOf(partial)) ?? 0) > 0;
  await fetchRest(file, partial, options);
  let wrong = await defectOf(partial, file, options.signal);
  if (wrong !== undefined && resumed) {
    // What an earlier run left was not the start of this file.
    await rm(partial, { force: true });
    await fetchRest(file, partial, options);
    wrong = await defectOf(partial, file, options.signal);
  }
  if (wrong !== undefined) {
    await rm(partial, { force: true });
    throw new SrdsError('DOWNLOAD_FAILED', name, wrong, 'run again; it is fetched anew');
  }
  await rename(partial, target);
}

async function fetchRest(file: RemoteFile, partial: string, options: DownloadOptions): Promise<void> {
  const { signal } = options;
  for (let attempt = 1; ; attempt++) {
    const before = (await sizeOf(partial)) ?? 0;
    if (before === file.size && before > 0) return;
    try {
      await append(file, partial, before > file.size ? 0 : before, options);
      const after = (await sizeOf(partial)) ?? 0;
      if (after >= file.size) return;
      throw new TypeError(`the answer ended after ${after} of ${file.size} bytes`);
    } catch (error) {
      signal?.throwIfAborted();
      // As long as something comes it goes on.
      if (((await sizeOf(partial)) ?? 0) > before) attempt = 1;
      if (attempt >= ATTEMPTS || !isTransient(error)) throw error;
      await delay(FIRST_PAUSE_MS * 2 ** attempt, undefined, { signal });
    }
  }
}

/** What is wrong with a file that was fetched; undefined if nothing is. */
async function defectOf(
  partial: string,
  file: RemoteFile,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const found = (await sizeOf(partial)) ?? 0;
  if (found !== file.size) return `${found} bytes instead of ${file.size}`;
  return (await hashOf(partial, file, signal)) === file.hash ? undefined : 'content with another hash';
}

/** Gets the rest of a file from `start` on and adds it to what is there. */
async function append(file: RemoteFile, partial: string, start: number, options: DownloadOptions): Promise<void> {
  const { repository, commit, settings, signal } = options;
  const path = file.path.split('/').map(encodeURIComponent).join('/');
  const url = `${settings.endpoint}/${repository.name}/resolve/${commit}/${path}`;
  const headers: Record<string, string> = {
    // Sizes and ranges are those of the file, not of a compressed form.
    'accept-encoding': 'identity',
    ...authorization(url, settings.endpoint, settings.token),
    ...(start > 0 && { range: `bytes=${start}-` }),
  };
  const stalled = new AbortController();
  const idle = setTimeout(() => stalled.abort(new TypeError(`nothing came for ${IDLE_MS / 1000} s`)), IDLE_MS);
  const either = signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal;
  try {
    await receive(url, partial, start, await fetch(url, { headers, signal: either }), idle, options);
  } finally {
    clearTimeout(idle);
  }
}

/** Writes what comes. @param idle is started anew with each piece */
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

/** In bytes; undefined if it is not there. */
export async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

/** What is said of a place in the cache where nothing can be written. */
export function unwritable(path: string, error: unknown): SrdsError {
  const remedy = 'make room or rights there, or set HF_HOME';
  return new SrdsError('DOWNLOAD_FAILED', `to write ${path}`, messageOf(error), remedy, { cause: error });
}

/** SHA-256 of a large file's content; of others git's hash, SHA-1 of a header and the content. */
async function hashOf(path: string, { large, size }: RemoteFile, signal: AbortSignal | undefined): Promise<string> {
  const hash = large ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  await pipeline(createReadStream(path), hash, ...(signal ? [{ signal }] : []));
  return hash.digest('hex');
}
