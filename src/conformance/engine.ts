import assert from 'node:assert/strict';
import type { Engine, Evaluation, OutputRow } from '../engine/engine.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Check } from './check.js';

/** An engine to check, and evaluations for it. */
export interface EngineUnderTest {
  readonly name: string;
  /** Opens an engine; each check opens its own and closes it. */
  readonly open: () => Promise<Engine>;
  /** At least two evaluations that can share a batch, with different results, without conditioning ids. */
  readonly evaluations: readonly Evaluation[];
  /** Two sets of the remaining inputs, to register as conditioning. */
  readonly conditioning: readonly [Readonly<Record<string, Tensor>>, Readonly<Record<string, Tensor>>];
  /** Maximum absolute difference between batch sizes; default 0. */
  readonly tolerance?: number;
}

/**
 * The requirements on every engine.
 * @example
 * const checks = engineConformance({ name: 'mine', open: openMyEngine, evaluations, conditioning });
 * for (const { name, run } of checks) test(name, run);
 */
export function engineConformance({ name, open, evaluations, conditioning, tolerance = 0 }: EngineUnderTest): Check[] {
  const check = (what: string, hold: (engine: Engine, ready: readonly Evaluation[]) => Promise<void>): Check => ({
    name: `${name}: ${what}`,
    async run() {
      const engine = await open();
      try {
        const ids = conditioning.map((inputs) => engine.register(inputs));
        await hold(
          engine,
          evaluations.map((evaluation) => ({ ...evaluation, conditioning: ids })),
        );
      } finally {
        await engine.close();
      }
    },
  });
  const one = async (engine: Engine, evaluation: Evaluation) => (await engine.run([evaluation])).outputs[0];
  return [
    check('it describes the inputs and outputs of its graphs', async (engine, [{ graph, output, inputs }]) => {
      const info = engine.graphs.get(graph);
      assert.ok(info);
      assert.ok(info.outputs.some((value) => value.name === output));
      for (const input of Object.keys(inputs)) assert.ok(info.inputs.some((value) => value.name === input));
      assert.ok(engine.slots >= 1 && engine.maxRows >= 1);
    }),
    check('a batch returns the results of its evaluations alone, in their order', async (engine, ready) => {
      const { outputs, seconds } = await engine.run(ready);
      assert.equal(outputs.length, ready.length);
      assert.ok(seconds >= 0);
      for (const [i, evaluation] of ready.entries()) assertClose(outputs[i], await one(engine, evaluation), tolerance);
    }),
    check('an evaluation has one row for each conditioning id, in their order', async (engine, [evaluation]) => {
      const [a, b] = await one(engine, evaluation);
      const [first, second] = evaluation.conditioning ?? [];
      assertClose(await one(engine, { ...evaluation, conditioning: [second, first] }), [b, a], tolerance);
      assert.notDeepEqual(a, b);
    }),
    check('an evaluation without conditioning ids has one row of its own inputs', async (engine, [evaluation]) => {
      const [first] = evaluation.conditioning ?? [];
      const expected = await one(engine, { ...evaluation, conditioning: [first] });
      const [{ inputs, ...rest }] = evaluations;
      assertClose(await one(engine, { ...rest, inputs: { ...inputs, ...conditioning[0] } }), expected, tolerance);
    }),
    check('an evaluation has the same result twice, and while others run', async (engine, [evaluation, ...others]) => {
      const [once, again] = await Promise.all([
        one(engine, evaluation),
        one(engine, evaluation),
        ...others.map((other) => one(engine, other)),
      ]);
      assert.deepEqual(once, again);
    }),
    check('conditioning that is released during a batch stays valid for that batch', async (engine, [evaluation]) => {
      const expected = await one(engine, evaluation);
      const running = one(engine, evaluation);
      for (const id of evaluation.conditioning ?? []) engine.release(id);
      assert.deepEqual(await running, expected);
    }),
    check('released conditioning and unknown graphs are refused', async (engine, ready) => {
      const [evaluation] = ready;
      await assert.rejects(engine.run([{ ...evaluation, graph: 'no such graph' }]), { code: 'ENGINE_FAILED' });
      for (const id of evaluation.conditioning ?? []) engine.release(id);
      await assert.rejects(engine.run([evaluation]), { code: 'ENGINE_FAILED' });
    }),
    check('a closed engine refuses new batches and drops running ones', async (engine, ready) => {
      const underWay = engine.run(ready);
      underWay.catch(() => undefined);
      await engine.close();
      await assert.rejects(engine.run(ready), { code: 'ENGINE_FAILED' });
      await Promise.allSettled([underWay]);
      await engine.close();
    }),
  ];
}

function assertClose(actual: readonly OutputRow[], expected: readonly OutputRow[], tolerance: number): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((row, i) => {
    assert.equal(row.length, expected[i].length);
    row.forEach((value, k) => assert.ok(Math.abs(value - expected[i][k]) <= tolerance, `row ${i}, value ${k}`));
  });
}
