import { signal, type Signal } from '@preact/signals';
import { generate, type Batch, type Counts, type Done, type LiveEvent } from './api.js';

/** A complete iteration. */
export interface Iteration {
  readonly iteration: number;
  /** Change of the image in grey levels; null for the coarse image. */
  readonly residual: number | null;
  /** Milliseconds since the first batch began. */
  readonly ms: number;
}

/** The state of a generation, during and after it. */
export interface RunState {
  readonly title: string;
  readonly phase: 'sending' | 'queued' | 'generating' | 'done' | 'cancelled' | 'failed';
  readonly message: string;
  /** URL of the latest image. */
  readonly image: string | undefined;
  readonly iterations: readonly Iteration[];
  readonly batches: readonly Batch[];
  readonly evaluations: Counts | undefined;
  readonly done: Done | undefined;
  readonly warnings: readonly string[];
}

/** A generation that can be watched and cancelled. */
export interface LiveRun {
  readonly state: Signal<RunState>;
  readonly ended: Promise<RunState>;
  cancel(): void;
}

const INITIAL: Omit<RunState, 'title'> = {
  phase: 'sending',
  message: 'sending the request',
  image: undefined,
  iterations: [],
  batches: [],
  evaluations: undefined,
  done: undefined,
  warnings: [],
};

/** Starts a generation. @param key API key; empty if there is none */
export function startRun(title: string, request: object, key: string): LiveRun {
  const controller = new AbortController();
  const state = signal<RunState>({ title, ...INITIAL });
  const follow = async (): Promise<RunState> => {
    try {
      for await (const event of generate(request, key, controller.signal)) {
        state.value = after(state.value, event);
      }
    } catch (error) {
      const phase = controller.signal.aborted ? 'cancelled' : 'failed';
      const message = phase === 'cancelled' ? 'cancelled' : error instanceof Error ? error.message : String(error);
      state.value = { ...state.value, phase, message };
    }
    return state.value;
  };
  return { state, ended: follow(), cancel: () => controller.abort() };
}

/** The state after an event. */
function after(state: RunState, event: LiveEvent): RunState {
  switch (event.type) {
    case 'queued':
      return {
        ...state,
        phase: 'queued',
        message: event.waiting > 0 ? `waiting, ${event.waiting} in the queue` : 'waiting',
      };
    case 'started':
      return { ...state, phase: 'generating', message: 'reading the prompt' };
    case 'warning':
      return { ...state, warnings: [...state.warnings, event.message] };
    case 'batch':
      return { ...state, message: progressOf(state, event), batches: [...state.batches, event] };
    case 'iteration': {
      const { iteration, residual, evaluations, ms } = event;
      const change =
        residual === null ? 'coarse image' : `iteration ${iteration} changed it by ${residual.toFixed(2)} grey levels`;
      return { ...state, message: change, evaluations, iterations: [...state.iterations, { iteration, residual, ms }] };
    }
    case 'preview':
      return { ...state, image: `data:image/webp;base64,${event.image}` };
    case 'done':
      return {
        ...state,
        phase: 'done',
        message: ENDINGS[event.status] ?? event.status,
        image: `data:image/png;base64,${event.image}`,
        evaluations: event.evaluations,
        done: event,
      };
  }
}

/** The number of evaluations until the first image arrives; then the message stays. */
function progressOf({ message, batches, iterations }: RunState, last: Batch): string {
  if (iterations.length > 0) return message;
  const count = [...batches, last].reduce((sum, { evaluations }) => sum + evaluations.length, 0);
  return count === 1 ? '1 evaluation so far' : `${count} evaluations so far`;
}

const ENDINGS: Readonly<Record<string, string>> = {
  converged: 'converged',
  exact: 'the serial image, exactly',
  maxIterations: 'stopped before it converged',
};

/**
 * Estimates the serial sampler's time in milliseconds: its evaluations times the median time of a batch of one evaluation. Undefined
 * until such a batch has run.
 */
export function serialEstimate({ batches, evaluations }: RunState): number | undefined {
  const alone = batches.filter((batch) => batch.evaluations.length === 1).map(({ begin, end }) => end - begin);
  if (alone.length === 0 || !evaluations) return undefined;
  const [middle] = alone.sort((a, b) => a - b).slice(Math.floor(alone.length / 2));
  return middle * evaluations.serial;
}
