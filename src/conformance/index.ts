export type { Check } from './check.js';
export { engineConformance, type EngineUnderTest } from './engine.js';
export { gridConformance } from './grid.js';
export { samplerConformance, type SampleOptions, type SamplerConformanceOptions } from './sampler.js';
export { solverConformance, type SolverUnderTest } from './solver.js';
export { mixtureDenoiser, smoothGrid, TWO_GAUSSIANS, type Mixture } from './mixture.js';
