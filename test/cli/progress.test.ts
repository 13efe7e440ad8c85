import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerateEvent } from 'srds';
import { Progress } from '../../src/cli/progress.js';

/** A line of progress on a terminal of so many columns, and a clock. */
function progressOn(images: number, columns = 100) {
  let written = '';
  let now = 0;
  const stream = { columns, write: (text: string) => (written += text) !== '' };
  const progress = new Progress(stream, images, () => now);
  return {
    progress,
    /** What the line says after an event at a time in seconds. */
    at: (seconds: number, ...events: GenerateEvent[]) => {
      now = 1000 * seconds;
      for (const event of events) progress.show(event);
      progress.print('x');
      return written.slice(written.lastIndexOf('\x1b[K') + 3);
    },
    written: () => written,
  };
}

const evaluation = (critical: number, total: number, image = 0): GenerateEvent => ({
  type: 'evaluation',
  image,
  iteration: 0,
  block: 0,
  step: 0,
  stage: 0,
  evaluations: { critical, total, serial: 25 },
});

test('the line says what a run does, the share by its forecast, and what is left', () => {
  const { progress, at } = progressOn(1);
  assert.equal(at(0), '0.0 s  loading the model');
  assert.equal(at(1.5, { type: 'phase', phase: 'preparing' }), '1.5 s  encoding the prompt');
  assert.equal(at(2, { type: 'phase', phase: 'measuring' }), '2.0 s  measuring the devices');
  const expected = { critical: 10, total: 40 };
  assert.equal(at(3, { type: 'phase', phase: 'sampling', expected }), `3.0 s  sampling  ${'░'.repeat(20)}   0 %`);
  // Of ten evaluations in a row five are done, of forty in all ten.
  const quarter = `sampling  ${'█'.repeat(5)}${'░'.repeat(15)}  25 %`;
  assert.equal(at(3.5, evaluation(5, 10)), `3.5 s  ${quarter}`);
  assert.equal(at(5, evaluation(5, 10)), `5.0 s  ${quarter}  about 6 s left`);
  const iteration: GenerateEvent = {
    type: 'iteration',
    image: 0,
    seed: 0n,
    iteration: 1,
    residual: 0.414,
    reachesEnd: true,
    evaluations: { critical: 5, total: 20, serial: 25 },
    preview: undefined,
  };
  assert.match(at(7, iteration), / 50 % {2}about 4 s left {2}iteration 1, change 0\.41 grey levels$/);
  // It takes more than expected.
  assert.match(at(12, evaluation(12, 60)), / 95 % {2}iteration 1/);
  assert.equal(at(13, { type: 'phase', phase: 'decoding' }), '13.0 s  decoding');
  progress.end();
});

test('the share never falls, counts all images, and without a forecast says nothing of what is left', () => {
  const { progress, at } = progressOn(2);
  at(0, { type: 'phase', phase: 'sampling' });
  assert.match(at(5, evaluation(10, 99)), /sampling 2 images .* 20 %$/);
  assert.match(at(9, evaluation(5, 99, 1)), / 30 %$/);
  assert.match(at(9, evaluation(2, 99, 1)), / 30 %$/);
  progress.end();
});

test('the line fits the terminal, and a download has a share too', () => {
  const { progress, at, written } = progressOn(1, 30);
  progress.setState('downloading unet/model.onnx, 3.4 GB in all', 0.5);
  assert.equal(at(2), '2.0 s  downloading unet/mode…');
  progress.end();
  assert.ok(written().endsWith('\r\x1b[K'));
});

test('a narrow terminal shows as many whole parts as fit', () => {
  const lineOf = (columns: number) => {
    const { progress, at } = progressOn(1, columns);
    at(0, { type: 'phase', phase: 'sampling', expected: { critical: 10, total: 40 } });
    const line = at(5, evaluation(5, 10));
    progress.end();
    return line;
  };
  const whole = `5.0 s  sampling  ${'█'.repeat(5)}${'░'.repeat(15)}  25 %`;
  assert.match(lineOf(80), / {2}about 15 s left$/);
  assert.equal(lineOf(50), whole);
  assert.equal(lineOf(20), '5.0 s  sampling');
  assert.equal(lineOf(10), '5.0 s  s…');
});
