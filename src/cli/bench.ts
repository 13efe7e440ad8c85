import { join } from 'node:path';
import { Command } from 'commander';
import { BatchCounter } from '../benchmark/batchCounter.js';
import { benchmark, type BenchmarkOptions, type Measurement } from '../benchmark/benchmark.js';
import { BENCHMARK_CASES, type BenchmarkCase } from '../benchmark/cases.js';
import { noiseFloor, type NoiseFloor } from '../benchmark/noiseFloor.js';
import { promptOf } from '../benchmark/prompts.js';
import { Pipeline } from '../pipeline/pipeline.js';
import { summarize, summaryTable } from '../benchmark/benchmarkSummary.js';
import { TraceRecorder, type BatchReport, type Trace } from '../pipeline/trace.js';
import { basisOf } from '../planner/convergence.js';
import { version } from '../version.js';
import { wholeNumber } from '../errors.js';
import { resultsText, writeResults } from './benchResults.js';
import { benchTails, tailCases } from './benchTails.js';
import { describeMachine } from './describeMachine.js';
import { DEVICE_OPTIONS, type DeviceValues } from '../pipeline/options/devices.js';
import { GENERATION_OPTIONS } from '../pipeline/options/generation.js';
import type { OpenOnDevices } from '../pipeline/options/openOnDevices.js';
import { splitDeviceFlags } from './devices.js';
import { addFlags } from './optionFlags.js';
import { findModel } from './model.js';
import { checkWritable, writeFiles } from './output.js';
import { Progress, warn } from './progress.js';
import { printedTable } from './table.js';
import { list, names, numbers, whole } from './values.js';

interface Flags extends DeviceValues {
  model?: string;
  steps: number[];
  samplers: BenchmarkCase[];
  prompts: number;
  floor: number;
  guidance?: number;
  tolerances?: number[];
  concurrency?: number;
  out?: string;
}

const ALL = Object.keys(BENCHMARK_CASES) as BenchmarkCase[];

/** `srds bench`. @param signal aborts the benchmark */
export function benchCommand(signal: AbortSignal): Command {
  const command = new Command('bench')
    .description('compare samplers: time, evaluations, and the difference to the serial image')
    .optionsGroup('What to compare:')
    .option('--model <folder>', 'as in srds generate (default: the bundled model)')
    .option('--steps <list>', 'numbers of steps', list('--steps'), [25, 50])
    .option('--samplers <list>', `of ${ALL.join(', ')}`, names('--samplers', ALL), ['serial', 'srds', 'picard', 'auto'])
    .option('--prompts <n>', 'number of prompts, each with its own seed', whole('--prompts'), 4)
    .option(
      '--floor <n>',
      'number of prompts for the noise floor: serial images in batches of another size',
      whole('--floor'),
      2,
    );
  addFlags(command, { guidance: GENERATION_OPTIONS.guidance });
  command
    .optionsGroup('Errors by tolerance:')
    .option(
      '--tolerances <list>',
      'instead of times: errors of all prompts where each tolerance stops, by both rules of --stopping',
      numbers('--tolerances'),
    )
    .option(
      '--concurrency <n>',
      'prompts at a time, with --tolerances (default: 8 on GPUs, else 1)',
      whole('--concurrency'),
    )
    .optionsGroup('Output:')
    .option(
      '--out <folder>',
      'folder for results.json, table.md and, without --tolerances, report.html (default: none)',
    )
    .optionsGroup('Devices:');
  addFlags(command, DEVICE_OPTIONS);
  return command.action(async (flags: Flags) => {
    const { open, others } = await splitDeviceFlags(flags);
    wholeNumber('a number of prompts', others.prompts, 1);
    wholeNumber('a number of prompts for the noise floor', others.floor, 0);
    wholeNumber('a number of prompts at a time', others.concurrency ?? 1, 1);
    const { out, samplers, floor, tolerances, concurrency, model: name, ...options } = others;
    const tails = tolerances && { tolerances, cases: tailCases(samplers) };
    if (out !== undefined) await checkWritable(join(out, 'results.json'));
    const progress = process.stderr.isTTY ? new Progress(process.stderr, 1) : undefined;
    const onWarning = (message: string) => warn(message, progress);
    if (concurrency !== undefined && !tails) onWarning('--concurrency does nothing without --tolerances');
    const onProgress = (what: string) => progress?.setState(what);
    const request: BenchmarkOptions = { ...options, cases: samplers, signal, onProgress };
    const counter = new BatchCounter();
    const model = await findModel(name, { progress, verbose: true, signal });
    let recorder: TraceRecorder | undefined;
    const onBatch = (report: BatchReport) => {
      counter.count(report);
      recorder?.batch(report);
    };
    const pipeline = await Pipeline.open(model, { ...open, signal, onWarning, onBatch });
    let other: Pipeline | undefined;
    try {
      if (tails) {
        await benchTails(pipeline, { ...options, ...tails, floor, concurrency, signal }, out, progress);
        return;
      }
      other = await otherBucket(pipeline, open, others.floor, signal);
      onProgress('measuring the devices');
      const machine = await pipeline.machine({ prompt: promptOf(0), guidance: flags.guidance });
      const where = await describeMachine(pipeline);
      const basis = basisOf(machine.convergence);
      const about = `${where}\nForecasts rest on ${basis}.`;
      const measurements: Measurement[] = [];
      const floors: NoiseFloor[] = [];
      let rows: string[][] = [];
      for (const steps of new Set(options.steps)) {
        const part = { ...request, steps: [steps] };
        try {
          measurements.push(...(await benchmark(pipeline, counter, machine, part)));
        } catch (error) {
          // What an interrupted run has finished.
          const interrupted = `${about}\nInterrupted with ${steps} steps.`;
          if (signal.aborted && rows.length > 0) process.stdout.write(resultsText(interrupted, rows, printedTable));
          throw error;
        }
        if (other) floors.push(...(await noiseFloor(pipeline, other, part, floor)));
        const summaries = summarize(measurements);
        rows = summaryTable(summaries, floors);
        const head = { version: version(), model: model.name, machine: where, curves: machine, basis };
        // Earlier results are kept if a later number of steps fails.
        if (out !== undefined) {
          const json = JSON.stringify({ ...head, measurements, floors, summaries }, undefined, 1);
          await writeResults(out, json, resultsText(about, rows));
        }
      }
      process.stdout.write(resultsText(about, rows, printedTable));
      if (out === undefined) return;
      onProgress('tracing one run');
      const trace = await traceOf(pipeline, (started) => (recorder = started), options.steps[0], signal);
      const { report } = await import('../chart/report.js');
      const title = `${model.name} on ${pipeline.engine.device}`;
      const page = report({ title, machine: where, measurements, summaries: summarize(measurements), rows, trace });
      await writeFiles([{ path: join(out, 'report.html'), bytes: Buffer.from(page) }]);
    } finally {
      progress?.end();
      await Promise.all([pipeline.close(), other?.close()]);
    }
  });
}

/** The same model with one other batch size, for the noise floor; undefined on a CPU, whose results do not depend on it. */
async function otherBucket(
  { model, engine }: Pipeline,
  open: OpenOnDevices,
  floor: number,
  signal: AbortSignal,
): Promise<Pipeline | undefined> {
  if (engine.buckets.length === 0 || floor === 0) return undefined;
  return Pipeline.open(model, { ...open, buckets: [16], signal });
}

/** Traces one run on a warm pipeline. @param record connects a recorder to the pipeline's batches */
async function traceOf(
  pipeline: Pipeline,
  record: (recorder: TraceRecorder) => void,
  steps: number,
  signal: AbortSignal,
): Promise<Trace> {
  const recorder = new TraceRecorder();
  record(recorder);
  const run = pipeline.generate({ prompt: promptOf(0), steps, previews: false, signal });
  for await (const event of run) recorder.event(event);
  await run.result;
  return recorder.trace(`"${promptOf(0)}", ${steps} steps, srds, ${pipeline.model.name} on ${pipeline.engine.device}`);
}
