export type { Solver } from './solver.js';
export { ddim } from './ddim.js';
