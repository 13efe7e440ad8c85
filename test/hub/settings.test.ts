import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hubSettings } from 'srds/hub';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

// Values of huggingface_hub 2.4.0: `python -c 'from huggingface_hub.constants import *; print(HF_HUB_CACHE)'` with HOME=/h.
const CACHES: [Record<string, string>, string][] = [
  [{}, '/h/.cache/huggingface/hub'],
  [{ HF_HOME: '~/hf' }, '/h/hf/hub'],
  [{ HF_HOME: '~' }, '/h/hub'],
  [{ HF_HOME: '$DATA/hf', DATA: '/data' }, '/data/hf/hub'],
  [{ HF_HOME: '${DATA}x/$NONE/${NONE}', DATA: '/data' }, '/datax/$NONE/${NONE}/hub'],
  [{ HF_HOME: '/a/~/b' }, '/a/~/b/hub'],
  [{ HF_HOME: '~no-such-user/b' }, '~no-such-user/b/hub'],
  [{ XDG_CACHE_HOME: '~/xdg' }, '/h/xdg/huggingface/hub'],
  [{ XDG_CACHE_HOME: '$HOME/xdg', HF_HOME: '/hf' }, '/hf/hub'],
  [{ HF_HUB_CACHE: '~/$DATA', DATA: 'd' }, '/h/d'],
  [{ HUGGINGFACE_HUB_CACHE: '~/old', HF_HOME: '/hf' }, '/h/old'],
  [{ HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/new' }, '/new'],
  [{ HF_HUB_CACHE: '$A', A: '$B', B: 'b' }, '$B'],
];

test("the cache is where Python's client has it", async () => {
  for (const [env, cache] of CACHES) {
    assert.equal((await hubSettings({ HOME: '/h', ...env })).cache, cache, JSON.stringify(env));
  }
  const { username } = userInfo();
  assert.equal((await hubSettings({ HF_HUB_CACHE: `~${username}/c` })).cache, join(userInfo().homedir, 'c'));
  assert.equal((await hubSettings({ HF_HUB_CACHE: '~/c' })).cache, join(homedir(), 'c'));
});

test('a token comes from HF_TOKEN, its former name, HF_TOKEN_PATH or the home folder', async () => {
  writeFileSync(join(scratch, 'token'), 'hf_stored\n');
  const token = async (env: Record<string, string>) => (await hubSettings({ HOME: scratch, ...env })).token;
  assert.equal(await token({ HF_TOKEN: ' hf_a ', HUGGING_FACE_HUB_TOKEN: 'hf_b' }), 'hf_a');
  assert.equal(await token({ HUGGING_FACE_HUB_TOKEN: 'hf_b' }), 'hf_b');
  assert.equal(await token({ HF_TOKEN_PATH: '~/token' }), 'hf_stored');
  assert.equal(await token({ HF_HOME: '$HOME' }), 'hf_stored');
  assert.equal(await token({ HF_HOME: '$HOME', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }), undefined);
  assert.equal(await token({}), undefined);
});

test('HF_HUB_OFFLINE, or else TRANSFORMERS_OFFLINE, keeps to the cache', async () => {
  const offline = async (env: Record<string, string>) => (await hubSettings(env)).offline;
  for (const value of ['1', 'on', 'YES', 'True']) {
    assert.ok(await offline({ HF_HUB_OFFLINE: value }));
    assert.ok(await offline({ TRANSFORMERS_OFFLINE: value }));
    assert.ok(await offline({ HF_HUB_OFFLINE: '', TRANSFORMERS_OFFLINE: value }));
    assert.ok(!(await offline({ HF_HUB_OFFLINE: '0', TRANSFORMERS_OFFLINE: value })));
  }
  for (const value of ['', '0', 'off', '2']) assert.ok(!(await offline({ TRANSFORMERS_OFFLINE: value })));
});

test('proxies are read as in Python; a malformed one is refused without its password', async () => {
  const proxies = async (env: Record<string, string>) => (await hubSettings(env)).proxies;
  assert.deepEqual(await proxies({}), { http: undefined, https: undefined, except: '' });
  assert.deepEqual(await proxies({ HTTPS_PROXY: 'http://a:1', https_proxy: 'b:2', no_proxy: 'x' }), {
    http: undefined,
    https: 'http://b:2',
    except: 'x',
  });
  assert.deepEqual(await proxies({ ALL_PROXY: 'http://a', HTTP_PROXY: 'http://b', https_proxy: '' }), {
    http: 'http://b',
    https: 'http://a',
    except: '',
  });
  assert.equal((await proxies({ ALL_PROXY: 'http://a', NO_PROXY: 'b, *' })).https, undefined);
  await assert.rejects(proxies({ HTTPS_PROXY: 'socks5://user:secret@host:1' }), (error: Error) => {
    assert.match(error.message, /^expected the http address of a proxy in HTTPS_PROXY, found "socks5:\/\/host:1"/);
    return true;
  });
});
