import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Batch, BatchResult, Engine } from 'srds/engine';
import { curveOf, measureCurve, withSerialTimes, type Measurements } from 'srds/planner';
import { sharesRows } from '../../src/planner/curve.js';
import { canMeasure } from '../../src/planner/measure.js';
import { float32 } from 'srds/tensor';

const EVALUATION = {
  graph: 'unet',
  output: 'out',
  inputs: { sample: float32(Float32Array.of(0), [1]) },
  conditioning: ['a', 'b'],
};

/** An engine whose batches take a given time, on a clock of its own. */
class TimedEngine implements Engine {
  readonly device = 'timed';
  private milliseconds = 0;
  readonly graphs = new Map();
  /** Rows of the batches that ran. */
  readonly ran: number[] = [];

  constructor(
    private readonly secondsOf: (rows: number, run: number) => number,
    readonly buckets: readonly number[] = [],
    readonly slots = 1,
  ) {}

  get maxRows(): number {
    return this.buckets.at(-1) ?? 8;
  }

  async run(batch: Batch): Promise<BatchResult> {
    const rows = batch.reduce((sum, { conditioning = [] }) => sum + conditioning.length, 0);
    this.ran.push(rows);
    const end = this.milliseconds + 1000 * this.secondsOf(rows, this.ran.length);
    await Promise.resolve();
    this.milliseconds = Math.max(this.milliseconds, end);
    return { outputs: [], seconds: 0, rows, device: this.device };
  }

  readonly now = () => this.milliseconds;

  async load(): Promise<void> {}
  async unload(): Promise<void> {}
  register(): string {
    return 'a';
  }
  release(): void {}
  async close(): Promise<void> {}
}

const steady = (...pairs: [number, number][]): Measurements => ({
  points: pairs.map(([rows, seconds]) => ({ rows, seconds, steady: true })),
  complete: false,
});
const measure = (engine: TimedEngine, known?: Measurements, serialBatches?: number, maxRows?: number) => {
  const { now } = engine;
  return measureCurve(engine, { evaluation: EVALUATION, sampleSize: 1, known, serialBatches, maxRows, now });
};
const rowsOf = ({ points }: Measurements) => points.map(({ rows }) => rows);

test('a run on a CPU measures nothing before its own batches have shown what one takes', async () => {
  const engine = new TimedEngine(() => 0.01);
  const { points, complete } = await measure(engine, undefined, 25);
  assert.deepEqual([points, complete], [[], false]);
  assert.deepEqual(engine.ran, []);
  const of = { rows: 2, devices: 1, sampleSize: 1 };
  const known = await withSerialTimes(undefined, { ...of, times: [0.5, 0.02, 0.02, 0.021, 0.02] });
  assert.deepEqual(known?.points, [{ rows: 2, seconds: 0.02, steady: true }]);
  // A busy machine, and too few times.
  assert.equal(await withSerialTimes(undefined, { ...of, times: [0.02, 0.05, 0.03, 0.02, 0.06] }), undefined);
  assert.equal(await withSerialTimes(undefined, { ...of, times: [0.02, 0.02] }), undefined);
  // One of several devices was alone.
  const several = await withSerialTimes(undefined, { ...of, devices: 2, times: [0.02, 0.02, 0.02] });
  assert.deepEqual([several?.points, several?.aloneSeconds], [[], 0.02]);
});

test('where that is asked for, the smallest batch is measured before a run has shown what it takes, if a tenth has room for it', async () => {
  const first = (engine: TimedEngine, serialBatches: number) => {
    const { now } = engine;
    return measureCurve(engine, { evaluation: EVALUATION, sampleSize: 1, serialBatches, measuresFirst: true, now });
  };
  // One batch is all that there is time for: another one would take too long.
  const slow = new TimedEngine((_, run) => (run === 1 ? 0.02 : 1));
  assert.deepEqual(rowsOf(await first(slow, 15)), [2]);
  assert.equal(slow.ran.length, 1);
  const none = new TimedEngine(() => 0.01);
  assert.deepEqual(rowsOf(await first(none, 9)), []);
  assert.deepEqual(none.ran, []);
  // With time for more, larger ones follow.
  assert.deepEqual(rowsOf(await first(new TimedEngine(() => 0.01), 1000)), [2, 4, 8]);
});

test('measuring takes at most a tenth of the serial run that it serves', async () => {
  for (const serialBatches of [2, 10, 30, 100]) {
    const engine = new TimedEngine((rows) => 0.01 * rows);
    await measure(engine, steady([2, 0.02]), serialBatches);
    const seconds = engine.now() / 1000;
    assert.ok(seconds <= 0.1 * serialBatches * 0.02, `${serialBatches} batches: ${seconds} s`);
    assert.equal(engine.ran.length > 0, serialBatches >= 30);
  }
});

test('where two rows take twice as long as one, measuring ends after the first doubling', async () => {
  const engine = new TimedEngine((rows) => 0.01 * rows);
  const measured = await measure(engine, steady([2, 0.02]), 1000);
  assert.deepEqual([rowsOf(measured), measured.complete], [[2, 4], true]);
  assert.ok(!engine.ran.includes(8));
});

test('a batch that ran once is not steady; a later run confirms or corrects it, and then goes on', async () => {
  const slow = new TimedEngine((rows) => (rows === 2 ? 0.2 : 0.3));
  const once = await measure(slow, steady([2, 0.2]), 21);
  assert.deepEqual([once.points.map((one) => one.steady), once.complete], [[true, false], false]);
  assert.equal(slow.ran.length, 1);
  const twice = await measure(slow, once, 21);
  assert.deepEqual(
    twice.points.map((one) => one.steady),
    [true, true],
  );
  const larger = await measure(slow, twice, 41);
  assert.deepEqual(rowsOf(larger), [2, 4, 8]);
  // It was busy, and now it is not.
  const busy = { ...once, points: [once.points[0], { rows: 4, seconds: 0.5, steady: false }] };
  const corrected = await measure(slow, busy, 28);
  assert.ok(corrected.points[1].seconds < 0.35 && !corrected.points[1].steady);
});

test('there is something to measure exactly where measuring runs a batch or finds the curve complete', async () => {
  const open = { ...steady([2, 0.02]), points: [{ rows: 2, seconds: 0.02, steady: false }] };
  const alone = { ...steady(), aloneSeconds: 0.02 };
  const curves = [
    undefined,
    alone,
    open,
    { ...open, aloneSeconds: 0.03 },
    steady([1, 0.012], [2, 0.02]),
    steady([2, 0.02], [4, 0.03]),
    steady([2, 0.02], [4, 0.021], [8, 0.022]),
    steady([2, 0.02], [4, 0.021], [8, 0.022], [32, 0.1]),
    { ...steady([2, 0.02], [4, 0.04]), complete: true },
  ];
  const answers = new Set<boolean>();
  for (const known of curves)
    for (const serialBatches of [1, 9, 10, 25, 100, Infinity])
      for (const buckets of [[], [2, 8, 32]])
        for (const slots of [1, 2])
          for (const measuresFirst of [false, true]) {
            const engine = new TimedEngine((rows) => 0.01 * rows, buckets, slots);
            const { now } = engine;
            const options = { evaluation: EVALUATION, sampleSize: 1, serialBatches, measuresFirst, known, now };
            const can = canMeasure(engine, options);
            const { complete } = await measureCurve(engine, options);
            const did = engine.ran.length > 0 || complete !== (known?.complete ?? false);
            // A complete curve is not measured again.
            assert.equal(can, did && known?.complete !== true, JSON.stringify({ ...options, buckets, slots }));
            answers.add(can);
          }
  assert.equal(answers.size, 2);
});

test('sizes that memory does not suffice for are not tried', async () => {
  const engine = new TimedEngine(() => 0.01);
  const measured = await measure(engine, steady([2, 0.01]), 1000, 5);
  assert.deepEqual([rowsOf(measured), measured.complete], [[2, 4], true]);
  assert.ok(engine.ran.every((rows) => rows <= 4));
  // Once memory suffices for more, they are.
  assert.ok(!canMeasure(engine, { evaluation: EVALUATION, sampleSize: 1, known: measured, maxRows: 5 }));
  assert.ok(canMeasure(engine, { evaluation: EVALUATION, sampleSize: 1, known: measured, maxRows: 8 }));
});

test('several devices may share the rows of an evaluation: a single row is measured, and an evaluation on one of them', async () => {
  const engine = new TimedEngine((rows) => 0.02 + 0.03 * rows, [1, 2, 8], 2);
  const measured = await measure(engine);
  assert.deepEqual(rowsOf(measured), [1, 2, 8]);
  const curve = curveOf(measured, true);
  assert.ok(curve);
  // 50 ms for a row, 80 ms for two.
  assert.ok(sharesRows(curve, 2, 2));
  assert.ok(!sharesRows(curve, 2, 1) && !sharesRows(curve, 1, 2));
  assert.ok(
    !sharesRows({ ...curve, points: [1, 2].map((rows) => ({ rows, seconds: 0.01 })), aloneSeconds: 0.01 }, 2, 2),
  );
  assert.ok((curve.aloneSeconds ?? 0) >= 0.08);
});

test('a GPU opens one bucket a run beyond the first, and has the whole curve after several', async () => {
  const buckets = [2, 8, 16, 32];
  // The first batch of a size opens its bucket.
  const seen = new Set<number>();
  const engine = new TimedEngine((rows) => (seen.has(rows) ? 0.004 : (seen.add(rows), 0.05)), buckets);
  let known: Measurements | undefined;
  for (const expected of [[2, 8], [2, 8, 16], buckets]) {
    known = await measure(engine, known, 2);
    assert.deepEqual(rowsOf(known), expected);
  }
  const whole = await measure(new TimedEngine(() => 0.004, buckets));
  assert.deepEqual(rowsOf(whole), buckets);
  const curve = curveOf(whole, true);
  assert.ok(curve?.padded && curve.points.every(({ seconds }) => seconds >= 0.004));
});
