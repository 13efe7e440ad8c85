import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpointName, parseDevices, parseEndpoint } from 'srds/engine';

test('the name of an endpoint has the server, the model and its version, and is read as it is written', () => {
  const expected = [
    ['oip+http://host:8000/unet', { url: 'http://host:8000', model: 'unet', version: undefined }],
    ['oip+https://host/unet/versions/2', { url: 'https://host', model: 'unet', version: '2' }],
    ['oip+http://[::1]:8000/unet', { url: 'http://[::1]:8000', model: 'unet', version: undefined }],
    ['oip+https://host/a/b/v2/models/unet', { url: 'https://host/a/b', model: 'unet', version: undefined }],
    ['oip+https://host/a/v2/models/unet/versions/3', { url: 'https://host/a', model: 'unet', version: '3' }],
  ] as const;
  for (const [name, endpoint] of expected) {
    assert.deepEqual(parseEndpoint(name), { kind: 'oip', ...endpoint });
    assert.equal(endpointName(parseEndpoint(name)), name);
  }
});

test('addresses that name no model are refused, and none shows a password', () => {
  for (const name of [
    'oip+http://host:8000',
    'oip+ftp://host/unet',
    'oip+host/unet',
    'oip+http://host/a/b',
    'oip+',
    'oip+http://host/unet?a=1',
  ])
    assert.throws(() => parseEndpoint(name), { code: 'INVALID_OPTION' }, name);
  assert.throws(() => parseDevices('http://host:8000/unet'), { code: 'INVALID_OPTION', message: /put oip\+ before/ });
  for (const name of [
    'oip+http://me:pass-word@host/unet',
    'oip+ftp://me:pass-word@host/unet',
    'oip+http://me:pass-word@',
    'oip+http:/me:pass-word@host/unet',
    'oip+http://host/unet?token=pass-word',
    'oip+http://host/unet#pass-word',
  ])
    assert.throws(
      () => parseEndpoint(name),
      (error: Error) => !error.message.includes('pass-word'),
    );
});
