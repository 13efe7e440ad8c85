import assert from 'node:assert/strict';
import type { SolverStep } from '../schedule/grid.js';
import { span } from '../schedule/span.js';
import type { Check } from './check.js';

/**
 * What every noise schedule's grids must be.
 * @param name for the checks' names
 * @param grid makes the fine grid of so many steps
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
        assert.ok(from.t >= 0 && from.alphaBar < 1, `${n} steps: the network is asked about t ${from.t}`);
      }
    }),
    each('noise only falls, within a step and from one to the next', (steps, n) => {
      steps.forEach(({ from, to }, j) => {
        assert.ok(to.alphaBar >= from.alphaBar, `${n} steps: step ${j} adds noise`);
        if (j > 0) assert.ok(from.alphaBar >= steps[j - 1].from.alphaBar, `${n} steps: step ${j} starts noisier`);
      });
    }),
    each('there are as many steps as asked for, or one that is repeated', (steps, n) => {
      assert.ok(steps.length === n || steps.length === n + 1, `${steps.length} for ${n}`);
    }),
    each('a coarse step over all of it starts and ends where it does', (steps) => {
      const coarse = span(steps);
      assert.deepEqual([coarse.from, coarse.to], [steps[0].from, steps[steps.length - 1].to]);
    }),
    each('it is the same every time', (steps, n) => assert.deepEqual(grid(n), steps)),
  ];
}
