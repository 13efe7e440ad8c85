import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoredImages } from '../../src/server/storedImages.js';
import { until } from '../support/server.js';

const image = (bytes: number) => ({ bytes: Buffer.alloc(bytes), type: 'image/png' });
const sizes = (stored: StoredImages, names: readonly string[]) => names.map((name) => stored.get(name)?.bytes.length);

test('old images are evicted for new ones', () => {
  const stored = new StoredImages(10);
  const names = [4, 4, 4].map((bytes) => stored.put('a', image(bytes)));
  assert.deepEqual(sizes(stored, names), [undefined, 4, 4]);
  assert.equal(stored.get('other'), undefined);
});

test('a key that stores much evicts its own images only', () => {
  const stored = new StoredImages(10);
  const quiet = [stored.put('a', image(2)), stored.put('b', image(3))];
  const loud = Array.from({ length: 50 }, () => stored.put('c', image(1)));
  assert.deepEqual(sizes(stored, quiet), [2, 3]);
  assert.deepEqual(sizes(stored, loud.slice(-6)), [undefined, 1, 1, 1, 1, 1]);
  assert.equal(stored.bytes, 10);
});

test('images leave memory after their time, although nobody asks for them', async () => {
  const stored = new StoredImages(10, 20);
  const name = stored.put('a', image(4));
  assert.equal(stored.bytes, 4);
  await until(() => stored.bytes === 0);
  assert.equal(stored.get(name), undefined);
});
