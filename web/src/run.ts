import { signal, type ReadonlySignal } from '@preact/signals';
import {
  generate,
  ServerError,
  type Batch,
  type Counts,
  type FinishedImage,
  type LiveEvent,
  type Plan,
} from './api.js';
import { fileFromBase64 } from './files.js';

/** A complete iteration. */
export interface Iteration {
  readonly iteration: number;
  /** Change of the image in grey levels; null for the coarse image. */
  readonly residual: number | null;
}

/** One of the images of a run. */
export interface RunImage {
  /** The image so far, or the finished PNG file. */
  readonly picture: Blob | undefined;
  readonly iterations: readonly Iteration[];
  readonly evaluations: Counts | undefined;
  readonly finished: Omit<FinishedImage, 'image'> | undefined;
}

/** `waiting`: for the queue to have room. The others up to `sampling` follow each other. */
export type RunPhase =
  | 'sending'
  | 'waiting'
  | 'queued'
  | 'loading'
  | 'preparing'
  | 'measuring'
  | 'planning'
  | 'sampling'
  | 'decoding'
  | 'done'
  | 'cancelled'
  | 'failed';

/** The state of a run, during and after it. */
export interface RunState {
  readonly phase: RunPhase;
  /** Requests that go first, while it is queued. */
  readonly ahead: number;
  /** When the request is sent again, in milliseconds since 1970, while it waits. */
  readonly retryAt: number;
  readonly plan: Plan | undefined;
  /** Evaluations of an image that are to be expected; null: not known. */
  readonly expected: number | null;
  readonly images: readonly RunImage[];
  readonly batches: readonly Batch[];
  /** When the first batch arrived, on the clock of `performance.now`. */
  readonly samplingSince: number | undefined;
  readonly warnings: readonly string[];
  /** Seconds that it took. */
  readonly seconds: number | undefined;
  /** An estimate of what the serial sampler takes; null: not known. */
  readonly serialSeconds: number | null;
  /** Why it failed. */
  readonly error: unknown;
}

/** A run that can be watched and cancelled. */
export interface LiveRun {
  readonly state: ReadonlySignal<RunState>;
  readonly ended: Promise<RunState>;
  cancel(): void;
}

const EMPTY_IMAGE: RunImage = { picture: undefined, iterations: [], evaluations: undefined, finished: undefined };
const INITIAL: RunState = {
  phase: 'sending',
  ahead: 0,
  retryAt: 0,
  plan: undefined,
  expected: null,
  images: [],
  batches: [],
  samplingSince: undefined,
  warnings: [],
  seconds: undefined,
  serialSeconds: null,
  error: undefined,
};
/** Where the server does not say when to try again. */
const RETRY_SECONDS = 5;
const FRAME_MS = 33;

/**
 * Starts a run. While the queue of the server is full it waits and tries again.
 * @param images number of images
 * @param key API key; empty if there is none
 */
export function startRun(request: object, images: number, key: string): LiveRun {
  const controller = new AbortController();
  const { signal: aborted } = controller;
  let latest: RunState = { ...INITIAL, images: Array.from({ length: images }, () => EMPTY_IMAGE) };
  const state = signal(latest);
  let frame: ReturnType<typeof setTimeout> | undefined;
  // Events come faster than they can be shown.
  const set = (next: RunState) => {
    latest = next;
    frame ??= setTimeout(() => {
      frame = undefined;
      state.value = latest;
    }, FRAME_MS);
  };
  const attempt = async (): Promise<void> => {
    try {
      for await (const event of generate(request, key, aborted)) set(after(latest, event));
    } catch (error) {
      if (!(error instanceof ServerError) || error.details.code !== 'queue_full') throw error;
      const seconds = error.details.retryAfter ?? RETRY_SECONDS;
      set({ ...latest, phase: 'waiting', retryAt: Date.now() + seconds * 1000 });
      await pause(seconds, aborted);
      await attempt();
    }
  };
  const follow = async (): Promise<RunState> => {
    await attempt().catch((error: unknown) => {
      set({ ...latest, phase: aborted.aborted ? 'cancelled' : 'failed', error });
    });
    clearTimeout(frame);
    state.value = latest;
    return latest;
  };
  return { state, ended: follow(), cancel: () => controller.abort() };
}

/** @throws the signal's reason */
function pause(seconds: number, aborted: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    aborted.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        reject(aborted.reason as Error);
      },
      { once: true },
    );
  });
}

const PHASES = new Set<string>(['preparing', 'measuring', 'planning', 'sampling', 'decoding'] satisfies RunPhase[]);

/** The state after an event. */
function after(state: RunState, event: LiveEvent): RunState {
  switch (event.type) {
    case 'queued':
      return { ...state, phase: 'queued', ahead: event.ahead };
    case 'started':
      return { ...state, phase: 'loading' };
    case 'phase':
      return PHASES.has(event.phase)
        ? { ...state, phase: event.phase as RunPhase, expected: event.evaluations ?? state.expected }
        : state;
    case 'plan':
      return { ...state, plan: event };
    case 'warning':
      return { ...state, warnings: [...state.warnings, event.message] };
    case 'batch':
      return {
        ...state,
        phase: 'sampling',
        batches: [...state.batches, event],
        samplingSince: state.samplingSince ?? performance.now(),
      };
    case 'iteration': {
      const { index, iteration, residual, evaluations } = event;
      const { iterations } = state.images[index];
      return withImage(state, index, { evaluations, iterations: [...iterations, { iteration, residual }] });
    }
    case 'preview':
      return withImage(state, event.index, { picture: fileFromBase64(event.image, 'image/webp') });
    case 'image': {
      const { image, ...finished } = event;
      const { evaluations } = finished;
      return withImage(state, event.index, { picture: fileFromBase64(image, 'image/png'), evaluations, finished });
    }
    case 'done':
      return { ...state, phase: 'done', seconds: event.seconds, serialSeconds: event.serialSeconds };
  }
}

function withImage(state: RunState, index: number, changes: Partial<RunImage>): RunState {
  const images = state.images.map((image, i) => (i === index ? { ...image, ...changes } : image));
  return { ...state, images };
}
