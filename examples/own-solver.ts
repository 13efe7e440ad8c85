// A solver of your own: the trapezoidal rule in data-prediction form. It runs the conformance suite for solvers.
import { solverConformance } from 'srds/conformance';
import type { Solver } from 'srds/solver';

/**
 * With u = x / sqrt(1 - abar) the ODE is du = x0 d(1/sigma). The step evaluates x0 at both ends and takes the mean. The `yield`
 * asks for the second evaluation.
 */
const trapezoid: Solver = {
  name: 'trapezoid',
  order: 2,
  evaluationsPerStep: 2,
  *step(x, { x0 }, { from, to }) {
    const decay = Math.sqrt((1 - to.alphaBar) / (1 - from.alphaBar));
    const gain = Math.sqrt(to.alphaBar) - decay * Math.sqrt(from.alphaBar);
    const stepWith = (sample: Float32Array) => x.map((value, k) => decay * value + gain * sample[k]);
    const end = stepWith(x0);
    if (to.alphaBar === 1) return end;
    const there = yield { x: end, level: to };
    return stepWith(x0.map((value, k) => (value + there.x0[k]) / 2));
  },
};

for (const { name, run } of solverConformance({ make: () => trapezoid })) {
  await run();
  console.log(`passed: ${name}`);
}
