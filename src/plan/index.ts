export { boundaries, checkPartition, defaultBlocks, evenPartition, type Partition } from './partition.js';
export { criticalPath, iterationsToExact } from './criticalPath.js';
