export { benchmark, type BenchmarkOptions, type Measurement } from './benchmark.js';
export { BENCHMARK_CASES, type BenchmarkCase } from './cases.js';
export { BatchCounter } from './batchCounter.js';
export type { Difference } from './difference.js';
export { noiseFloor, type NoiseFloor } from './noiseFloor.js';
export { tail, type TailOptions, type TailResult, type TailRule, type TailRun, type TailSample } from './tail.js';
export { tailStatistics, tailTable, type TailStatistics } from './tailSummary.js';
export { promptOf } from './prompts.js';
export { summarize, summaryTable, markdown, type Summary } from './benchmarkSummary.js';
