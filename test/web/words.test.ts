/// <reference lib="dom" />
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formOf, GENERATION_OPTIONS } from 'srds/pipeline';
import { ServerError, type Batch } from '../../web/src/api.js';
import { comparisonOf } from '../../web/src/comparison.js';
import { explain } from '../../web/src/explain.js';
import { forecastText } from '../../web/src/forecastText.js';
import { progressOf } from '../../web/src/progress.js';
import type { RunState } from '../../web/src/run.js';

const image = { picture: undefined, iterations: [], evaluations: undefined, finished: undefined };
const plan = { type: 'plan', sampler: 'srds', reason: null, serialEvaluations: 50, seconds: null, serialSeconds: null };
const START: RunState = {
  phase: 'sending',
  ahead: 0,
  retryAt: 0,
  plan: undefined,
  expected: null,
  images: [image],
  batches: [],
  samplingSince: undefined,
  warnings: [],
  seconds: undefined,
  serialSeconds: null,
  error: undefined,
};

/** Batches of 100 ms with so many evaluations each. */
const batchesOf = (...sizes: readonly number[]): Batch[] =>
  sizes.map((size, i) => ({
    begin: 100 * i,
    end: 100 * (i + 1),
    rows: size,
    evaluations: Array.from({ length: size }, (): [number, number, number, number] => [0, 0, i, 0]),
  }));

test('progress: the place in the queue, the share of expected evaluations, and the time that is left', () => {
  assert.equal(progressOf({ ...START, phase: 'queued', ahead: 1 }, 0).text, 'In the queue, 1 request first');
  assert.equal(progressOf({ ...START, phase: 'queued', ahead: 0 }, 0).text, 'Next, as soon as the server is free');
  const sampling = { ...START, phase: 'sampling', plan, samplingSince: 1000 } as const;
  // 25 of 100 evaluations in 10 s: three times as long is left.
  const quarter = progressOf({ ...sampling, expected: 100, batches: batchesOf(10, 15) }, 10_900);
  assert.deepEqual([quarter.share, quarter.text], [0.25, 'Drawing, 25 %, about 30 seconds left']);
  const two = progressOf({ ...sampling, expected: 100, images: [image, image], batches: batchesOf(10, 15) }, 10_900);
  assert.equal(two.share, 0.125);
  const serial = {
    ...sampling,
    plan: { ...plan, sampler: 'serial' },
    batches: batchesOf(...Array<number>(25).fill(1)),
  };
  assert.deepEqual(progressOf(serial, 3400).text, 'Drawing, 50 %, about 3 seconds left');
  // More evaluations than expected never say that it is done.
  const over = progressOf({ ...sampling, expected: 10, batches: batchesOf(20) }, 2000);
  assert.ok((over.share ?? 1) < 1 && over.text.includes('almost done'), over.text);
  // Without a forecast the serial sampler's evaluations bound it.
  const evaluations = { critical: 10, total: 60, serial: 50 };
  const bounded = progressOf({ ...sampling, images: [{ ...image, evaluations }], batches: batchesOf(60) }, 10_900);
  assert.deepEqual([bounded.share, bounded.text], [0.2, 'Drawing, 20 %, at most 40 seconds left']);
});

test('a finished run is compared with the serial sampler; where it is slower, its batches say why', () => {
  const done = { ...START, phase: 'done', plan, seconds: 2 } as const;
  assert.equal(
    comparisonOf({ ...done, serialSeconds: 5 }, undefined),
    '2.00 s, the serial sampler about 5.00 s: 2.5 times faster.',
  );
  assert.equal(comparisonOf({ ...done, serialSeconds: 5 }, 4), '2.00 s, the serial sampler 4.00 s: 2.0 times faster.');
  assert.equal(
    comparisonOf({ ...done, images: [image, image], serialSeconds: 5 }, undefined),
    '2.00 s, the serial sampler, one image after the other, about 5.00 s: 2.5 times faster.',
  );
  assert.match(comparisonOf({ ...done, serialSeconds: 2 }, undefined) ?? '', /no difference/);
  const slow = batchesOf(1, 1, 1).concat({ ...batchesOf(4)[0], begin: 300, end: 680 });
  const why = comparisonOf({ ...done, serialSeconds: 1, batches: slow }, undefined) ?? '';
  assert.match(why, /slower here\. A batch of 4 evaluations takes 3\.8 times as long here as a single one/);
  assert.equal(comparisonOf(done, undefined), undefined);
  const auto = { ...done, plan: { ...plan, sampler: 'serial', reason: 'there is one step only' } };
  assert.equal(comparisonOf(auto, undefined), 'Auto took the serial sampler: there is one step only.');
});

test('errors are in words for people: they name the control, and what to do', () => {
  const form = formOf(GENERATION_OPTIONS);
  const explained = (message: string, details: ServerError['details']) =>
    explain(new ServerError(message, details), form);
  const invalid = 'expected at most 250 for steps, found 300; see /openapi.json';
  assert.equal(
    explained(invalid, { status: 400, code: 'invalid_parameter', param: 'steps' }),
    'Steps: expected at most 250, found 300.',
  );
  assert.equal(explained('x', {}), 'The connection to the server broke.');
  assert.equal(
    explained('see its log', { status: 500, code: 'internal_error' }),
    'The server failed. Its log says why.',
  );
  assert.match(explained('x', { status: 413 }), /too large/);
  assert.match(explained('x', { status: 504 }), /Fewer steps/);
  for (const status of [400, 401, 403, 404, 408, 413, 415, 429, 500, 502, 503, 504]) {
    assert.match(explained('expected a, found b; do c', { status }), /^[A-Z].*\.$/, String(status));
  }
  assert.match(explain(new TypeError('x is not a function'), form), /^Something went wrong on this page/);
});

test('a forecast says how long sampling takes, what auto would take and why', () => {
  assert.equal(forecastText({ forecast: null }), undefined);
  const serial = { sampler: 'serial', reason: 'there is one step only', seconds: 4, serialSeconds: 4 };
  assert.equal(
    forecastText({ forecast: serial }),
    'About 4.00 s with the serial sampler, which auto would take: there is one step only.',
  );
  assert.equal(
    forecastText({ forecast: { ...serial, sampler: 'srds', reason: 'the devices share the work', seconds: 2 } }),
    'About 2.00 s with srds, which auto would take, and about 4.00 s with the serial sampler: the devices share the work.',
  );
});
