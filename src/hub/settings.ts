import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SrdsError } from '../errors.js';
import type { Environment } from './environment.js';
import { expandPath, homeOf } from './expandPath.js';
import { proxiesOf, type Proxies } from './proxies.js';

/** How to reach the Hugging Face hub, and where its cache is. */
export interface HubSettings {
  /** Address of the hub, without a trailing slash. */
  readonly endpoint: string;
  /** Folder of the cache that all Hugging Face tools share. */
  readonly cache: string;
  /** Access token; undefined for anonymous access. */
  readonly token: string | undefined;
  /** Whether to use the cache only. */
  readonly offline: boolean;
  readonly proxies: Proxies;
}

/**
 * Reads the variables of the Hugging Face hub and of proxies as the Python client does. An empty variable counts as missing.
 * Source: huggingface_hub, constants.py and utils/_auth.py.
 * @throws SrdsError INVALID_OPTION if an address or the token is malformed
 */
export async function hubSettings(env: Environment = process.env): Promise<HubSettings> {
  const expanded = (path: string) => expandPath(path, env);
  const home = expanded(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homeOf(env), '.cache'), 'huggingface'));
  const stored = await readFile(expanded(env.HF_TOKEN_PATH || join(home, 'token')), 'utf8').catch(() => '');
  const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const token = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || '').trim() || stored.trim() || undefined;
  // The message does not quote the secret.
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new SrdsError('INVALID_OPTION', 'a token in HF_TOKEN', 'characters that tokens do not have', 'copy it again');
  }
  if (URL.canParse(endpoint) && new URL(endpoint).username !== '') {
    throw new SrdsError('INVALID_OPTION', 'HF_ENDPOINT without a user name', 'a user name', 'use HF_TOKEN');
  }
  if (!/^https?:\/\/[^/]/.test(endpoint) || !URL.canParse(endpoint)) {
    throw new SrdsError(
      'INVALID_OPTION',
      'an http address in HF_ENDPOINT',
      `"${endpoint}"`,
      'unset it or set an http address',
    );
  }
  return {
    endpoint,
    cache: expanded(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    token: isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? undefined : token,
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    proxies: proxiesOf(env),
  };
}

function isTrue(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? '');
}
