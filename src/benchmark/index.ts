export {
  benchmark,
  BatchWatch,
  BENCHMARK_CASES,
  noiseFloor,
  promptOf,
  type BenchmarkOptions,
  type BenchmarkCase,
  type Measurement,
  type NoiseFloor,
} from './benchmark.js';
export { summarize, summaryTable, markdown, type Summary } from './benchmarkSummary.js';
