import type { Measurement } from '../benchmark/benchmark.js';
import { BENCHMARK_CASES, type BenchmarkCase } from '../benchmark/cases.js';
import type { Trace } from '../pipeline/trace.js';
import type { Summary } from '../benchmark/benchmarkSummary.js';
import { gantt } from './gantt.js';
import { escaped, page, table } from './html.js';
import { COLOURS, toSvg } from './svg.js';

const SIZE = { width: 900, height: 420 };
const LEGEND = { top: 10, itemGap: 24 };
const GRID = { left: 70, right: 30, top: 60, bottom: 60 };

/** Content of a report. */
export interface ReportInput {
  readonly title: string;
  /** Description of the machine and the model. */
  readonly machine: string;
  readonly measurements: readonly Measurement[];
  readonly summaries: readonly Summary[];
  /** The table of results. The first row is its header. */
  readonly rows: readonly (readonly string[])[];
  /** One run, for a Gantt chart. */
  readonly trace: Trace | undefined;
}

/** A benchmark as a self-contained HTML page. */
export function report({ title, machine, measurements, summaries, rows, trace }: ReportInput): string {
  return page(
    title,
    [
      `<p>${escaped(machine)}</p>`,
      table(rows),
      `<h2>Speed-up against the number of steps</h2>\n${speedUps(summaries)}`,
      `<h2>Difference to the serial image against time</h2>\n${errors(measurements)}`,
      trace ? `<h2>One run</h2>\n${gantt(trace)}` : '',
    ].join('\n'),
  );
}

function speedUps(summaries: readonly Summary[]): string {
  const steps = [...new Set(summaries.map((summary) => summary.steps))].sort((a, b) => a - b);
  const series = namesOf(summaries).map((name) => ({
    name,
    type: 'line',
    color: colourOf(name),
    data: steps.map((count) => summaries.find((row) => row.caseName === name && row.steps === count)?.speedUp ?? null),
  }));
  return toSvg(
    {
      legend: LEGEND,
      grid: GRID,
      xAxis: { type: 'category', data: steps.map(String), name: 'steps', nameLocation: 'middle', nameGap: 30 },
      yAxis: { type: 'value', name: 'times faster than serial', nameLocation: 'middle', nameGap: 40 },
      series,
    },
    SIZE,
  );
}

function namesOf(rows: readonly { readonly caseName: BenchmarkCase }[]): BenchmarkCase[] {
  return [...new Set(rows.map(({ caseName }) => caseName))];
}

/** A sampler has the same colour in all plots. */
function colourOf(name: BenchmarkCase): string {
  return COLOURS[Object.keys(BENCHMARK_CASES).indexOf(name) % COLOURS.length];
}

/** The error, in grey levels, that one of 0 has on a logarithmic axis. */
const LEAST_ERROR = 0.001;

/** Plots each image as a point. */
function errors(measurements: readonly Measurement[]): string {
  // Powers of ten as they are computed have many digits.
  const axisLabel = { formatter: (value: number) => String(Number(value.toPrecision(6))) };
  const parallel = namesOf(measurements).filter((name) => name !== 'serial');
  const series = parallel.map((name) => ({
    name,
    type: 'scatter',
    color: colourOf(name),
    symbolSize: 6,
    data: measurements
      .filter(({ caseName }) => caseName === name)
      .map(({ seconds, error }) => [1000 * seconds, Math.max(LEAST_ERROR, error.mean)]),
  }));
  return toSvg(
    {
      legend: LEGEND,
      grid: GRID,
      xAxis: { type: 'log', name: 'milliseconds', nameLocation: 'middle', nameGap: 30 },
      yAxis: {
        type: 'log',
        name: 'grey levels, mean',
        nameLocation: 'middle',
        nameGap: 50,
        min: LEAST_ERROR,
        axisLabel,
      },
      series,
    },
    SIZE,
  );
}
