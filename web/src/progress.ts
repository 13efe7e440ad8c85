import type { RunPhase, RunState } from './run.js';

/** How far a run is. */
export interface RunProgress {
  /** From 0 to 1; undefined: not known. */
  readonly share: number | undefined;
  /** What it does, in words. */
  readonly text: string;
}

const DOING: Readonly<Record<Exclude<RunPhase, 'waiting' | 'queued' | 'sampling' | 'done'>, string>> = {
  sending: 'Sending the request',
  loading: 'Waiting for the model',
  preparing: 'Reading the prompt',
  measuring: 'Measuring this machine, which later images need no more',
  planning: 'Choosing the fastest sampler',
  decoding: 'Drawn, now becoming a picture',
  cancelled: 'Cancelled',
  failed: 'Failed',
};
/** A run that takes more evaluations than forecast stays below the end. */
const MOST = 0.97;
/** Before that, the time that is left is a guess. */
const LEAST_FOR_ESTIMATE = 0.05;

/** @param now on the clock of `performance.now` */
export function progressOf(state: RunState, now: number): RunProgress {
  const { phase, ahead } = state;
  switch (phase) {
    case 'done':
      return { share: 1, text: endingOf(state) };
    case 'waiting': {
      const seconds = Math.max(1, Math.ceil((state.retryAt - Date.now()) / 1000));
      return { share: undefined, text: `The queue of the server is full. Next try in ${duration(seconds)}.` };
    }
    case 'queued':
      return {
        share: undefined,
        text: ahead === 0 ? 'Next, as soon as the server is free' : `In the queue, ${counted(ahead, 'request')} first`,
      };
    case 'sampling':
      return sampling(state, now);
    default:
      return { share: undefined, text: DOING[phase] };
  }
}

function sampling(state: RunState, now: number): RunProgress {
  const { plan, batches, images, samplingSince } = state;
  if (!plan || samplingSince === undefined || batches.length === 0) return { share: undefined, text: 'Drawing' };
  const expected = plan.sampler === 'serial' ? plan.serialEvaluations : state.expected;
  const share =
    expected === null
      ? // A refining sampler never needs more evaluations in a row than the serial one.
        mean(images.map(({ evaluations }) => (evaluations?.critical ?? 0) / plan.serialEvaluations))
      : batches.reduce((sum, { evaluations }) => sum + evaluations.length, 0) / (expected * images.length);
  const bounded = Math.min(MOST, share);
  const percent = `${Math.round(100 * bounded)} %`;
  if (share < LEAST_FOR_ESTIMATE) return { share: bounded, text: `Drawing, ${percent}` };
  // The first batch had begun before it was reported.
  const spent = (now - samplingSince + (batches[0].end - batches[0].begin)) / 1000;
  if (share >= MOST) return { share: bounded, text: `Drawing, ${percent}, almost done` };
  const left = (spent * (1 - bounded)) / bounded;
  const about = expected === null ? 'at most' : 'about';
  return { share: bounded, text: `Drawing, ${percent}, ${about} ${duration(left)} left` };
}

/** How the images of a run have come out, in words. */
function endingOf({ images, plan }: RunState): string {
  const endings = new Set(images.map(({ finished }) => finished?.status));
  if (plan?.sampler === 'serial') return 'Done';
  if (endings.has('maxIterations')) return 'Done, stopped before it had converged';
  if (endings.has('converged')) return 'Done, within the tolerance of the serial image';
  return 'Done, exactly the serial image';
}

/** Seconds in words, for estimates. */
function duration(seconds: number): string {
  if (seconds < 1.5) return '1 second';
  if (seconds < 90) return `${Math.round(seconds)} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} minutes` : `${(seconds / 3600).toFixed(1)} hours`;
}

/** Seconds that were measured. */
export function secondsText(seconds: number): string {
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
