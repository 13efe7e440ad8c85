import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from 'srds/server';

const KEY = 'a-key-of-the-test';

test('listening beyond this machine requires keys or an explicit setting', () => {
  const parse = (settings: Record<string, unknown>) => parseConfig([{ name: 'the test', settings }]);
  assert.throws(() => parse({ host: '0.0.0.0' }), {
    code: 'INVALID_OPTION',
    message: /API keys to listen on 0\.0\.0\.0/,
  });
  assert.equal(parse({ host: '0.0.0.0', apiKeys: [KEY] }).host, '0.0.0.0');
  assert.equal(parse({ host: '0.0.0.0', allowAnonymous: true }).host, '0.0.0.0');
  for (const key of ['short', 'a key with spaces', 'a-key-with-\u00e9', 'a-key-with-\n-in-it', ' a-key-of-the-test']) {
    assert.throws(() => parse({ apiKeys: [key] }), { code: 'INVALID_OPTION', message: /visible ASCII/ }, key);
  }
  assert.throws(() => parse({ port: 70000 }), { message: /for port, found 70000 in the test/ });
  assert.throws(() => parse({ prot: 1 }), { message: /prot/ });
  const sources = [
    { name: 'first', settings: { port: 1 } },
    { name: 'second', settings: { port: 2, queue: 3 } },
  ];
  const { port, queue } = parseConfig(sources);
  assert.deepEqual([port, queue], [1, 3]);
});

test('defaults of requests are within what requests may ask for', () => {
  const parse = (settings: Record<string, unknown>) => parseConfig([{ name: 'the test', settings }]);
  assert.throws(() => parse({ steps: 500 }), {
    code: 'INVALID_OPTION',
    message: /^expected a default of at most 250 steps, which --max-steps allows, found 500; give fewer, or a larger/,
  });
  assert.throws(() => parse({ n: 3, maxImages: 2 }), {
    message: /at most 2 images, which --max-images allows, found 3/,
  });
  assert.equal(parse({ steps: 500, maxSteps: 500 }).requests.steps, 500);
});
