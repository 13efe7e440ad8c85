import assert from 'node:assert/strict';
import type { SolverStep } from '../schedule/grid.js';
import { span } from '../schedule/span.js';
import type { Check } from './check.js';

/**
 * The requirements on the grids of every noise schedule.
 * @param name prefix of the checks' names
 * @param grid returns the fine grid for a number of steps
 * @param counts numbers of steps to try
 * @example
 * for (const { name, run } of gridConformance('mine', (steps) => myGrid(steps))) test(name, run);
 */
export function gridConformance(
  name: string,
  grid: (steps: number) => readonly SolverStep[],
  counts: readonly number[] = [1, 2, 7, 10, 25, 50, 100, 961],
): Check[] {
  const each = (what: string, hold: (steps: readonly SolverStep[], n: number) => void): Check => ({
    name: `${name}: ${what}`,
    run: async () => counts.forEach((n) => hold(grid(n), n)),
  });
  return [
    each('levels are finite, with abar from 0 to 1', (steps, n) => {
      for (const { from, to } of steps) {
        for (const { t, alphaBar } of [from, to]) {
          assert.ok(Number.isFinite(t) && alphaBar >= 0 && alphaBar <= 1, `${n} steps: t ${t}, abar ${alphaBar}`);
        }
        assert.ok(from.t >= 0 && from.alphaBar < 1, `${n} steps: an evaluation at t ${from.t}`);
      }
    }),
    each('noise only falls, within a step and from one to the next', (steps, n) => {
      steps.forEach(({ from, to }, j) => {
        assert.ok(to.alphaBar >= from.alphaBar, `${n} steps: step ${j} adds noise`);
        if (j > 0) assert.ok(from.alphaBar >= steps[j - 1].from.alphaBar, `${n} steps: step ${j} starts noisier`);
      });
    }),
    each('there are as many steps as requested, or one more that is repeated', (steps, n) => {
      assert.ok(steps.length === n || steps.length === n + 1, `${steps.length} for ${n}`);
    }),
    each('a coarse step over the whole grid has the same ends', (steps) => {
      const coarse = span(steps);
      assert.deepEqual([coarse.from, coarse.to], [steps[0].from, steps[steps.length - 1].to]);
    }),
    each('the same number of steps gives the same grid', (steps, n) => assert.deepEqual(grid(n), steps)),
  ];
}
