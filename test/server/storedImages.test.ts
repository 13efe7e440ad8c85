import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoredImages } from '../../src/server/storedImages.js';

test('old images are evicted for new ones', () => {
  const stored = new StoredImages(10);
  const put = (bytes: number) => stored.put({ bytes: Buffer.alloc(bytes), type: 'image/png' });
  const names = [put(4), put(4), put(4)];
  assert.deepEqual(
    names.map((name) => stored.get(name)?.bytes.length),
    [undefined, 4, 4],
  );
  assert.equal(stored.get('other'), undefined);
});
