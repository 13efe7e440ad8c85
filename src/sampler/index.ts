export type { Iterate, Sampler, Task, TaskId } from './sampler.js';
export { serial, type SerialOptions } from './serial.js';
export { srds, type SrdsOptions } from './srds.js';
export { picard } from './picard.js';
export { paradigms } from './paradigms.js';
export { parataa, type ParataaOptions } from './parataa.js';
export type { FixedPointOptions } from './fixedPoint.js';
export { correct, type Correction, type CorrectionInput, type Solves } from './corrections.js';
export {
  boundaries,
  checkPartition,
  defaultPartition,
  evenPartition,
  iterationsToExact,
  rampedPartition,
  type Partition,
} from './partition.js';
