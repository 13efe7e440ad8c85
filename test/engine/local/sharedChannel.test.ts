import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { loadMemoryMap, type MemoryMap } from '../../../src/engine/local/memoryMap.js';
import { CONTENT_START, SharedChannel } from '../../../src/engine/local/sharedChannel.js';

const map = await loadMemoryMap();
const refused: MemoryMap = () => {
  throw new Error('no mappings');
};

/** Both sides of a channel, in one process: with system calls, and with one or both sides or none mapped into memory. */
function withChannel(use: (near: SharedChannel, far: SharedChannel) => void): void {
  for (const [ofNear, ofFar] of [[], [map], [undefined, map], [map, map], [refused, refused]]) {
    const near = SharedChannel.create();
    try {
      const far = SharedChannel.open(near.path);
      if (ofNear) near.mapWith(ofNear);
      if (ofFar) far.mapWith(ofFar);
      use(near, far);
      far.close();
    } finally {
      near.remove();
      near.close();
    }
  }
}

test('buffers of any type come back as they were written', () => {
  withChannel((near, far) => {
    const sent = [Float32Array.of(1.5, -0, NaN), new Uint8Array(0), BigInt64Array.of(-1n, 2n ** 60n), Uint8Array.of(7)];
    const end = near.write(sent, CONTENT_START);
    assert.equal(end, CONTENT_START + 12 + 16 + 1);
    const received = [new Float32Array(3), new Uint8Array(0), new BigInt64Array(2), new Uint8Array(1)];
    far.read(received, CONTENT_START);
    assert.deepEqual(received, sent);
    const last = new Uint8Array(1);
    far.read([last], end - 1);
    assert.equal(last[0], 7);
  });
});

test('more buffers than one system call takes are transferred in order', () => {
  withChannel((near, far) => {
    const sent = Array.from({ length: 2500 }, (_, k) => new Uint8Array(k % 7).fill(k));
    const end = near.write(sent, CONTENT_START);
    const received = sent.map(({ length }) => new Uint8Array(length));
    far.read(received, CONTENT_START);
    assert.deepEqual(received, sent);
    assert.equal(end, CONTENT_START + sent.reduce((sum, { length }) => sum + length, 0));
  });
});

test('a folder that takes no files is passed over', () => {
  const channel = SharedChannel.create(['/proc', '/nowhere', tmpdir()]);
  assert.ok(channel.path.startsWith(tmpdir()));
  channel.remove();
  channel.close();
  assert.throws(() => SharedChannel.create(['/nowhere']), { code: 'ENOENT' });
});

test('reading beyond the end is an error', () => {
  withChannel((near, far) => {
    assert.throws(() => far.read([new Uint8Array(9)], 2 ** 30));
    near.write([new Uint8Array(8)], CONTENT_START);
    assert.throws(() => far.read([new Uint8Array(9)], 2 ** 30));
  });
});

test('a channel grows from either side', () => {
  withChannel((near, far) => {
    for (const [k, [from, to]] of [
      [near, far],
      [far, near],
      [near, far],
    ].entries()) {
      const sent = new Uint8Array(3_000_000 * (k + 1)).fill(k + 1);
      from.write([sent], CONTENT_START);
      const received = new Uint8Array(sent.length);
      to.read([received], CONTENT_START);
      assert.deepEqual(received, sent);
    }
  });
});

test('a message is received once, both ways, and the next one after it', () => {
  withChannel((near, far) => {
    assert.equal(far.receive(), undefined);
    for (const text of ['long '.repeat(1000), 'short', '\u{1F600}']) {
      near.send({ text }, CONTENT_START);
      far.send({ reply: text }, CONTENT_START + 10_000);
      assert.deepEqual(far.receive(), { text });
      assert.deepEqual(near.receive(), { reply: text });
      assert.equal(far.receive(), undefined);
      assert.equal(near.receive(), undefined);
    }
  });
});

test('a message is stored after the tensors that it is about', () => {
  withChannel((near, far) => {
    const values = Float32Array.of(1, 2, 3);
    near.send({ values: 3 }, near.write([values], CONTENT_START));
    const received = new Float32Array(3);
    far.receive();
    far.read([received], CONTENT_START);
    assert.deepEqual(received, values);
  });
});

test('sending returns whether the other side sleeps; at first both do', () => {
  withChannel((near, far) => {
    assert.equal(near.send(1, CONTENT_START), true);
    assert.equal(far.send(2, CONTENT_START + 100), true);
    far.setAsleep(false);
    assert.equal(near.send(3, CONTENT_START), false);
    assert.equal(far.send(4, CONTENT_START + 100), true);
    far.setAsleep(true);
    assert.equal(near.send(5, CONTENT_START), true);
  });
});

test('a removed channel has no file, and both sides still use it', () => {
  withChannel((near, far) => {
    near.remove();
    assert.equal(existsSync(dirname(near.path)), false);
    near.send('still here', CONTENT_START);
    assert.equal(far.receive(), 'still here');
    near.remove();
  });
});
