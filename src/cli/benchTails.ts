import type { BenchmarkCase } from '../benchmark/cases.js';
import { tail, type TailOptions, type TailResult } from '../benchmark/tail.js';
import { tailStatistics, tailTable } from '../benchmark/tailSummary.js';
import { SrdsError } from '../errors.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import { version } from '../version.js';
import { resultsText, writeResults } from './benchResults.js';
import { describeMachine } from './describeMachine.js';
import type { Progress } from './progress.js';
import { printedTable } from './table.js';

/** Flags of `srds bench` with tolerances. */
export interface TailFlags extends Omit<TailOptions, 'steps' | 'onProgress'> {
  readonly steps: readonly number[];
}

/** Lines of progress where there is no terminal. */
const PROGRESS_LINES = 20;

/** Measures the errors of all prompts where each tolerance stops. @param out folder for the results */
export async function benchTails(
  pipeline: Pipeline,
  { steps, guidance, ...request }: TailFlags,
  out: string | undefined,
  progress: Progress | undefined,
): Promise<void> {
  const where = await describeMachine(pipeline);
  const results: TailResult[] = [];
  let interrupted: string | undefined;
  const about = () => (interrupted === undefined ? where : `${where}\n${interrupted}`);
  for (const count of new Set(steps)) {
    let measured = 0;
    const onProgress = (finished: number) => {
      measured = finished;
      const what = `${count} steps, ${finished} of ${request.prompts} prompts`;
      if (progress) progress.setState(what);
      else if (finished % Math.ceil(request.prompts / PROGRESS_LINES) === 0) process.stderr.write(`srds: ${what}\n`);
    };
    const result = await tail(pipeline, { ...request, steps: count, guidance, onProgress });
    if (request.signal?.aborted && measured < request.prompts) {
      interrupted = `Interrupted after ${measured} of ${request.prompts} prompts with ${count} steps.`;
      if (measured === 0) break;
    }
    results.push(result);
    // Earlier results are kept if a later number of steps fails, and those so far if the run is interrupted.
    const content = {
      version: version(),
      model: pipeline.model.name,
      machine: where,
      guidance,
      interrupted,
      results: results.map(({ runs, floor }) => ({ runs: runs.map(withStatistics), floor })),
    };
    const text = resultsText(about(), tailTable(results));
    if (out !== undefined) await writeResults(out, JSON.stringify(content, rounded), text);
    if (request.signal?.aborted) break;
  }
  if (results.length > 0) process.stdout.write(resultsText(about(), tailTable(results), printedTable));
  request.signal?.throwIfAborted();
}

/** The samplers of which the tolerance is one of the image; the serial one is what they are compared with. @throws SrdsError INVALID_OPTION */
export function tailCases(samplers: readonly BenchmarkCase[]): BenchmarkCase[] {
  const cases = samplers.filter((name) => name !== 'serial');
  if (cases.length > 0 && !cases.includes('paradigms')) return cases;
  const remedy = 'give --samplers, such as srds,picard,auto';
  const expected = 'samplers that stop by the change of the image, for --tolerances';
  throw new SrdsError('INVALID_OPTION', expected, samplers.join(','), remedy);
}

function withStatistics(run: TailResult['runs'][number]) {
  return { ...run, statistics: tailStatistics(run.samples.map(({ error }) => error)) };
}

/** Four digits after the point: errors are exact to less than that. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value * 1e4) / 1e4 : value;
}
