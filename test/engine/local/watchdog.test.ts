import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchTimes } from '../../../src/engine/local/batchTimes.js';
import { NO_HEARTBEAT, Watchdog } from '../../../src/engine/local/watchdog.js';

/** Ticks for some seconds; `beatsAt` gives the heartbeats by second. @returns the second of the verdict, and the verdict */
function watch(seconds: number, beatsAt: (second: number) => number, limitSeconds?: number) {
  const watchdog = new Watchdog();
  for (let second = 1; second <= seconds; second++) {
    const pending = limitSeconds === undefined ? undefined : { number: 7, limitSeconds };
    const verdict = watchdog.tick(beatsAt(second), pending);
    if (verdict !== undefined) return { second, verdict };
  }
  return undefined;
}

test('a process that stops to give signs of life hangs, whether or not it has a request', () => {
  for (const limit of [undefined, Infinity, 1e6]) {
    assert.match(watch(100, (second) => Math.min(second, 20), limit)!.verdict, /no sign of life for 30 s/);
    assert.equal(watch(100, (second) => Math.min(second, 20), limit)!.second, 50);
    assert.equal(
      watch(100_000, (second) => second, limit),
      undefined,
    );
  }
});

test('a process that starts has more time, and one without heartbeats is judged by its requests alone', () => {
  assert.equal(watch(1000, () => 0)!.second, 60);
  assert.equal(
    watch(100_000, () => NO_HEARTBEAT),
    undefined,
  );
  assert.match(watch(100_000, () => NO_HEARTBEAT, 300)!.verdict, /did not reply within 300 s/);
});

test('the limit counts for each request anew', () => {
  const watchdog = new Watchdog();
  for (let second = 1; second < 1000; second++) {
    const pending = { number: Math.floor(second / 100), limitSeconds: 101 };
    assert.equal(watchdog.tick(second, pending), undefined);
  }
  assert.match(watch(1000, (second) => second, 100)!.verdict, /did not reply within 100 s/);
});

test('a process is not responsive from 5 s of silence until the next sign of life', () => {
  const watchdog = new Watchdog();
  const seen = [1, 2, 2, 2, 2, 2, 2, 3].map((beats) => {
    watchdog.tick(beats);
    return watchdog.isResponsive;
  });
  assert.deepEqual(seen, [true, true, true, true, true, true, false, true]);
});

test('limits follow the known latencies, are generous, and a first run on a CPU has none', () => {
  const times = new BatchTimes({ kind: 'cpu', index: 0 });
  assert.equal(times.limit('a', 1), Infinity);
  times.add('a', 2, 0.01);
  assert.equal(times.limit('a', 2), 120);
  times.add('a', 2, 30);
  times.add('a', 2, 1);
  assert.equal(times.limit('a', 2), 600);
  assert.equal(times.limit('a', 1), 600);
  assert.equal(times.limit('a', 8), 2400);
  assert.equal(times.limit('b', 1), Infinity);
  assert.equal(new BatchTimes({ kind: 'cuda', index: 0 }).limit('a', 1), 3600);
});
