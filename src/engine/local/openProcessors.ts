import { availableParallelism } from 'node:os';
import { SrdsError, wholeNumber } from '../../errors.js';
import { deviceName, type Processor } from '../device.js';
import type { DeviceReports, EngineState } from '../engineDevice.js';
import { LocalDevice } from './localDevice.js';
import type { ProcessSettings } from './protocol.js';

const MAX_WORKERS = 64;
const MAX_THREADS = 1024;
const MAX_BUCKET = 4096;

/**
 * Batch sizes, in rows, that GPUs keep sessions for by default. The small ones are close together: where a row costs nearly as much as the
 * batch before it, padding three evaluations of 2 rows to 8 rows takes a third longer than they do.
 */
export const DEFAULT_BUCKETS: readonly number[] = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/** How an engine uses the processors of this machine. */
export interface ProcessorOptions {
  /** Threads of each process on the CPU; default: the number of processors divided by the number of processes. */
  readonly threads?: number | undefined;
  /** Processes on the CPU, each with its copy of the graphs; default 1. */
  readonly workers?: number | undefined;
  /**
   * Batch sizes to keep sessions for, in rows; a batch is padded to the next. Results are reproducible for one size, since
   * another size uses other kernels. Default: `DEFAULT_BUCKETS` on GPUs, none on the CPU, where any size will do.
   */
  readonly buckets?: readonly number[] | undefined;
  /** Whether graphs with buckets are rewritten into faster operators (default), or run as exported. */
  readonly fused?: boolean | undefined;
  /** Whether CUDA devices capture batches as CUDA graphs (default), where the optional package koffi is installed. */
  readonly cudaGraphs?: boolean | undefined;
}

/** What processors need to know of their engine. */
interface ProcessorContext {
  readonly state: EngineState;
  /** Name of the graph that only endpoints run. */
  readonly elsewhere: string | undefined;
  readonly reports: DeviceReports;
}

/** Starts a process for each processor, or several for the CPU. @throws SrdsError INVALID_OPTION */
export function openProcessors(
  processors: readonly Processor[],
  options: ProcessorOptions,
  { state, elsewhere, reports }: ProcessorContext,
): LocalDevice[] {
  const workers = wholeNumber('a number of workers', options.workers ?? 1, 1, MAX_WORKERS);
  const shared = Math.max(1, Math.floor(availableParallelism() / workers));
  const threads = wholeNumber('a number of threads', options.threads ?? shared, 1, MAX_THREADS);
  const buckets = options.buckets && checkBuckets(options.buckets);
  return processors.flatMap((device) => {
    const settings = processSettings(device, { ...options, threads, buckets });
    if (device.kind !== 'cpu') return [new LocalDevice(settings, state, elsewhere, reports)];
    return Array.from({ length: workers }, (_, k) => {
      const name = workers === 1 ? undefined : `${deviceName(device)} ${k + 1}`;
      return new LocalDevice(settings, state, elsewhere, reports, name);
    });
  });
}

/** The settings of a processor's process. @param options of which `threads` is for a CPU */
export function processSettings(
  device: Processor,
  { threads = 1, buckets, fused = true, cudaGraphs = true }: ProcessorOptions,
): Omit<ProcessSettings, 'channel'> {
  if (device.kind === 'cpu') return { device, threads, buckets: buckets ?? [], fused, cApi: false };
  const cApi = cudaGraphs && device.kind === 'cuda' && process.platform === 'linux';
  return { device, threads: 1, buckets: buckets ?? DEFAULT_BUCKETS, fused, cApi };
}

function checkBuckets(buckets: readonly number[]): readonly number[] {
  if (buckets.length === 0) throw new SrdsError('INVALID_OPTION', 'a batch size', 'none', 'give one, such as 2');
  for (const bucket of buckets) wholeNumber('a batch size in rows', bucket, 1, MAX_BUCKET);
  return [...new Set(buckets)].sort((a, b) => a - b);
}
