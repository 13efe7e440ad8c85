import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { SrdsError } from '../errors.js';

/** How the Hugging Face hub is reached and where what it gives is kept. */
export interface HubSettings {
  /** Its address, without a slash at the end. */
  readonly endpoint: string;
  /** Folder of the cache that all Hugging Face tools share. */
  readonly cache: string;
  readonly token: string | undefined;
  /** Whether only the cache may be used. */
  readonly offline: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE as the Python client does.
 * Source: huggingface_hub, constants.py.
 * @throws SrdsError INVALID_OPTION if the address or the token is none
 */
export async function hubSettings(env: Environment = process.env): Promise<HubSettings> {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  const stored = await readFile(env.HF_TOKEN_PATH || join(home, 'token'), 'utf8').catch(() => '');
  const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const token = env.HF_TOKEN?.trim() || stored.trim() || undefined;
  // A secret is not quoted.
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new SrdsError('INVALID_OPTION', 'a token in HF_TOKEN', 'characters that no token has', 'copy it again');
  }
  if (URL.canParse(endpoint) && new URL(endpoint).username !== '') {
    throw new SrdsError('INVALID_OPTION', 'HF_ENDPOINT without a user name', 'one with', 'use HF_TOKEN');
  }
  if (!/^https?:\/\/[^/]/.test(endpoint) || !URL.canParse(endpoint)) {
    throw new SrdsError('INVALID_OPTION', 'an http address in HF_ENDPOINT', `"${endpoint}"`, 'unset it or give one');
  }
  return {
    endpoint,
    cache: env.HF_HUB_CACHE || join(home, 'hub'),
    token,
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ''),
  };
}
