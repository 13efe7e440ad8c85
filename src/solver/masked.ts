import type { NoiseLevel, SolverStep } from '../schedule/grid.js';
import { isMultistep, type AnySolver, type MultistepSolver, type Solver, type StepGenerator } from './solver.js';

/** What of a sample is known, and what is free. All arrays have the size of the sample. */
export interface Mask {
  /** 1: free; 0: known. */
  readonly free: Float32Array;
  /** The sample without noise. */
  readonly known: Float32Array;
  readonly noise: Float32Array;
  /** The fine grid, from which coarse steps are taken too. */
  readonly steps: readonly SolverStep[];
  /** Factor of the known sample at the end of the trajectory, where it has no noise; default 1. */
  readonly endScale?: number | undefined;
}

/**
 * A solver whose steps put back what is known, with the noise of the level where the step ends; at the end of the trajectory without
 * noise. Its steps are functions of their start like any other, so every sampler can take them. Queries within a step are samples too.
 *
 * A step of the grid ends at the noise level where the next one begins, which is not `to` with every scheduler.
 * Source: Lugmayr et al. 2022 (RePaint, arXiv 2201.09865), formula (8) without resampling; diffusers StableDiffusionInpaintPipeline
 * with a network of four channels.
 * @example
 * const { result } = drive(srds({ x, steps, solver: masked(ddim, { free, known, noise, steps }) }), { denoiser });
 */
export function masked(solver: AnySolver, mask: Mask): AnySolver {
  return isMultistep(solver) ? maskedMultistep(solver, mask) : maskedOneStep(solver, mask);
}

function maskedMultistep(solver: MultistepSolver, mask: Mask): MultistepSolver {
  const keep = keeper(mask);
  return { ...solver, multistep: (now, past) => keep(solver.multistep(now, past), now.step.to) };
}

function maskedOneStep(solver: Solver, mask: Mask): Solver {
  const keep = keeper(mask);
  return {
    ...solver,
    mask: { solver, keep },
    step(x, prediction, step) {
      const end = solver.step(x, prediction, step);
      return end instanceof Float32Array ? keep(end, step.to) : keptThroughout(end, step, keep);
    },
  };
}

type Keep = (x: Float32Array, level: NoiseLevel) => Float32Array;

function* keptThroughout(inner: StepGenerator, { to }: SolverStep, keep: Keep): StepGenerator {
  let next = inner.next();
  while (!next.done) {
    const { x, level } = next.value;
    next = inner.next(yield { x: keep(x, level), level });
  }
  return keep(next.value, to);
}

/** A function that puts back what is known of a sample at a noise level. */
function keeper({ free, known, noise, steps, endScale = 1 }: Mask): Keep {
  /** Weights of the known sample and of the noise where a step of the grid ends. */
  const atEnds = new Map<NoiseLevel, readonly [number, number]>(
    steps.map(({ to }, i) => [to, i + 1 < steps.length ? weightsOf(steps[i + 1].from) : [endScale, 0]]),
  );
  return (x, level) => {
    const [signal, deviation] = atEnds.get(level) ?? weightsOf(level);
    const kept = new Float32Array(x.length);
    for (let k = 0; k < x.length; k++) kept[k] = free[k] === 0 ? signal * known[k] + deviation * noise[k] : x[k];
    return kept;
  };
}

function weightsOf({ alphaBar }: NoiseLevel): readonly [signal: number, deviation: number] {
  return [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
}
