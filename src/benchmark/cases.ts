import type { GenerateOptions } from '../pipeline/options.js';

/**
 * What a benchmark compares, by name. Each case gives options of `generate` for a number of steps and for the largest batch of
 * evaluations.
 */
export const BENCHMARK_CASES = {
  serial: () => ({ sampler: 'serial' }),
  srds: () => ({ sampler: 'srds' }),
  /** The paper's blocks and correction. */
  'srds-paper': (steps) => ({ sampler: 'srds', blocks: Math.round(Math.sqrt(steps)), correction: 'parareal' }),
  /** The same with a barrier between iterations. */
  'srds-vanilla': (steps) => ({
    sampler: 'srds',
    blocks: Math.round(Math.sqrt(steps)),
    correction: 'parareal',
    pipelined: false,
  }),
  picard: () => ({ sampler: 'picard' }),
  paradigms: (steps, batch) => ({ sampler: 'paradigms', window: Math.min(steps, batch) }),
  parataa: () => ({ sampler: 'parataa' }),
  auto: () => ({ sampler: 'auto' }),
} as const satisfies Record<string, (steps: number, batch: number) => Partial<GenerateOptions>>;

/** Name of a benchmark case. */
export type BenchmarkCase = keyof typeof BENCHMARK_CASES;
