export {
  benchmark,
  BatchWatch,
  CONTESTANTS,
  noiseFloor,
  promptOf,
  type BenchmarkOptions,
  type Contestant,
  type Measurement,
  type NoiseFloor,
} from './benchmark.js';
export { summarize, summaryTable, markdown, type Summary } from './benchmarkSummary.js';
