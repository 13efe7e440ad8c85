import { wholeNumber } from '../errors.js';
import { identical } from '../tensor/operations.js';
import { fixedPoint, stepWith, type FixedPointOptions, type Window } from './fixedPoint.js';
import type { Sampler } from './sampler.js';

export const DEFAULT_HISTORY = 3;
export const MAX_HISTORY = 8;

/** Options of ParaTAA. */
export interface ParataaOptions extends FixedPointOptions {
  /** Number of passes that are mixed, the current one included; 1 is the plain fixed point; default 3. */
  readonly history?: number | undefined;
  /** Number of steps over which a state is computed from an earlier one; default: all. */
  readonly order?: number | undefined;
}

/** States in y and the residuals of the fixed point there, each [size], by index in the trajectory. */
interface Pass {
  readonly y: ReadonlyMap<number, Float64Array>;
  readonly residual: ReadonlyMap<number, Float64Array>;
}

/** Share of the Gram matrix's trace that is added to its diagonal, to make it regular. */
const RIDGE = 1e-6;

/**
 * Triangular Anderson acceleration of the fixed point over y = x / sqrt(abar), whose increments d[j] are the solver's steps:
 *
 *     F(Y)[i] = y[i-k] + d[i-k] + ... + d[i-1],    R = F(Y) - Y
 *     y'[i] = y[i] + R[i] - sum_h g_h (dY_h[i] + dR_h[i]),    g = argmin | R[..i] - sum_h g_h dR_h[..i] |
 *
 * with dY_h and dR_h the changes between the last passes. Each step has its own g from the steps before it, so later steps do not
 * disturb it. The first state of each pass is the solver's step. States are float64.
 *
 * A trajectory that starts without signal, as a flow does, has no y there. It takes the sample of the flow in its place,
 * y = x / (sqrt(abar) + sqrt(1 - abar)), in which the ODE is dy = (epsilon - x0) dsigma.
 * Source: Tang et al. 2024 (arXiv 2402.09970), section 3.
 * @throws SrdsError INVALID_OPTION as `fixedPoint` does
 * @example
 * const { result } = drive(parataa({ x, steps, solver: ddim, history: 3 }), { denoiser, tolerance: 1e-3 });
 */
export function parataa(options: ParataaOptions): Sampler {
  const history = wholeNumber('a history of passes', options.history ?? DEFAULT_HISTORY, 1, MAX_HISTORY);
  const order = wholeNumber('an order', options.order ?? options.steps.length, 1);
  const divisor = options.steps[0]?.from.alphaBar === 0 ? ofFlow : Math.sqrt;
  const past: Pass[] = [];
  return fixedPoint(options, {
    update: (window) => {
      const now = fixedPointOf(window, order, divisor);
      const mixed = mix(now, past, window);
      past.unshift(now);
      past.length = Math.min(past.length, history - 1);
      const { states, predictions, steps, solver, front } = window;
      const moved = [states[0], stepWith(solver, states[0], predictions[0], steps[0])];
      for (let i = 2; i < states.length; i++) {
        const { alphaBar } = steps[i - 1].to;
        const kept = identical(states[i - 1], moved[i - 1]);
        if (kept) moved.push(stepWith(solver, states[i - 1], predictions[i - 1], steps[i - 1]));
        else moved.push(unscaled(get(mixed, front + i), divisor(alphaBar)));
      }
      return moved;
    },
  });
}

/** x / y of the sample of a flow. */
function ofFlow(alphaBar: number): number {
  return Math.sqrt(alphaBar) + Math.sqrt(1 - alphaBar);
}

/** Y and R of a window. @param divisor x / y at a noise level */
function fixedPointOf(
  { front, states, predictions, steps, solver }: Window,
  order: number,
  divisor: (alphaBar: number) => number,
): Pass {
  const y = [scaled(states[0], divisor(steps[0].from.alphaBar))];
  const increments: Float64Array[] = [];
  for (const [j, step] of steps.entries()) {
    y.push(scaled(states[j + 1], divisor(step.to.alphaBar)));
    const end = scaled(stepWith(solver, states[j], predictions[j], step), divisor(step.to.alphaBar));
    increments.push(minus(end, y[j]));
  }
  const residual = new Map<number, Float64Array>();
  for (let i = 1; i < y.length; i++) {
    const from = Math.max(0, i - order);
    const r = minus(y[from], y[i]);
    for (let j = from; j < i; j++) for (let k = 0; k < r.length; k++) r[k] += increments[j][k];
    residual.set(front + i, r);
  }
  return { y: new Map(y.map((state, i) => [front + i, state])), residual };
}

function scaled(x: Float32Array, divisor: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let k = 0; k < y.length; k++) y[k] = x[k] / divisor;
  return y;
}

function unscaled(y: Float64Array, divisor: number): Float32Array {
  const x = new Float32Array(y.length);
  for (let k = 0; k < x.length; k++) x[k] = divisor * y[k];
  return x;
}

/** a - b */
function minus(a: Float64Array, b: Float64Array): Float64Array {
  const difference = new Float64Array(a.length);
  for (let k = 0; k < a.length; k++) difference[k] = a[k] - b[k];
  return difference;
}

/** The mixed states, by index. */
function mix(now: Pass, past: readonly Pass[], { front, steps }: Window): Map<number, Float64Array> {
  const passes = [now, ...past];
  const gram = past.map(() => past.map(() => 0));
  const right = past.map(() => 0);
  const mixed = new Map<number, Float64Array>();
  for (let i = front + 1; i <= front + steps.length; i++) {
    const [y, r] = [get(now.y, i), get(now.residual, i)];
    // A state that has just entered the window has no past.
    const known = passes.every((pass) => pass.residual.has(i));
    const changes = known ? past.map((_, h) => changeOf(passes[h], passes[h + 1], i)) : [];
    changes.forEach(({ r: a }, h) => {
      right[h] += dot(a, r);
      changes.forEach(({ r: b }, g) => (gram[h][g] += dot(a, b)));
    });
    const weights = changes.length > 0 ? solve(gram, right) : [];
    const state = new Float64Array(y.length);
    for (let k = 0; k < state.length; k++) state[k] = y[k] + r[k];
    changes.forEach((change, h) => {
      for (let k = 0; k < state.length; k++) state[k] -= weights[h] * (change.y[k] + change.r[k]);
    });
    mixed.set(i, state);
  }
  return mixed;
}

function changeOf(later: Pass, earlier: Pass, i: number): { readonly y: Float64Array; readonly r: Float64Array } {
  return {
    y: minus(get(later.y, i), get(earlier.y, i)),
    r: minus(get(later.residual, i), get(earlier.residual, i)),
  };
}

/** (A + ridge) g = b by Gaussian elimination; A is symmetric, positive and small. */
function solve(a: readonly (readonly number[])[], b: readonly number[]): number[] {
  const ridge = RIDGE * a.reduce((trace, row, k) => trace + row[k], 0) + Number.MIN_VALUE;
  const rows = a.map((row, k) => [...row.map((value, j) => (j === k ? value + ridge : value)), b[k]]);
  for (let p = 0; p < rows.length; p++) {
    for (let q = p + 1; q < rows.length; q++) {
      const factor = rows[q][p] / rows[p][p];
      for (let j = p; j <= rows.length; j++) rows[q][j] -= factor * rows[p][j];
    }
  }
  const g = b.map(() => 0);
  for (let p = rows.length - 1; p >= 0; p--) {
    const known = g.reduce((sum, value, j) => (j > p ? sum + rows[p][j] * value : sum), 0);
    g[p] = rows[p][p] > 0 ? (rows[p][rows.length] - known) / rows[p][p] : 0;
  }
  return g;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}

function get(states: ReadonlyMap<number, Float64Array>, i: number): Float64Array {
  const state = states.get(i);
  if (!state) throw new RangeError(`no state ${i}`);
  return state;
}
