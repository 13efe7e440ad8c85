import { computed, signal } from '@preact/signals';
import pLimit from 'p-limit';
import { ServerError } from './api.js';
import { comparisonOf } from './comparison.js';
import { connection, form, info, key, waitForServer } from './connection.js';
import { learn } from './experience.js';
import { addToGallery } from './gallery.js';
import type { GalleryImage, SourceImage } from './records.js';
import { modelOf, numberOf, requestOf, withoutSource, type Parameters } from './parameters.js';
import { tell } from './notice.js';
import { randomId } from './randomId.js';
import { startRun, type LiveRun } from './run.js';
import { race, parameters } from './settings.js';
import { source, sourceFields } from './source.js';
import { keep, kept } from './storage.js';

/** Browsers open six connections to a server; two stay free for other requests. */
const MAX_STREAMS = 4;
const PENDING = 'srds.pending';
const MAX_RANDOM_SEED = 2 ** 32;

/** A run of a job, with the sampler that it names. */
export interface JobRun {
  readonly parameters: Parameters;
  readonly run: LiveRun;
}

/** What one press of the button draws: a run, or in a race the serial sampler and then another. */
export interface Job {
  readonly id: string;
  /** The parameters, with a seed. */
  readonly parameters: Parameters;
  /** Grey levels at which its sampler stops; 0 if it does not stop by them. */
  readonly tolerance: number;
  readonly raced: boolean;
  readonly runs: readonly JobRun[];
  /** The images that it has added to the gallery. */
  readonly images: readonly GalleryImage[];
  readonly ended: boolean;
}

/** The jobs of this page, the latest first; those that have ended stay until another one is drawn. */
export const jobs = signal<readonly Job[]>([]);
export const activeJobs = computed(() => jobs.value.filter(({ ended }) => !ended));
/** The job on the stage. */
export const shownJob = signal<string | undefined>(undefined);

const streams = pLimit(MAX_STREAMS);
const cancelled = new Set<string>();
let isLeaving = false;
// A page that is left ends its requests, which are then still pending.
addEventListener('pagehide', () => (isLeaving = true));
addEventListener('pageshow', () => (isLeaving = false));

/** Draws what the form says. */
export function draw(): void {
  const { seed } = parameters.value;
  const random = String(Math.floor(Math.random() * MAX_RANDOM_SEED));
  // A seed of the page's own, so that what is lost can be drawn again.
  void run({ ...parameters.value, seed: seed === '' ? random : seed }, race.value);
}

/** Draws a job again. */
export function drawAgain(given: Parameters, raced: boolean): void {
  void run(given, raced);
}

/** Cancels a job. */
export function cancel(id: string): void {
  cancelled.add(id);
  for (const { run } of jobs.value.find((job) => job.id === id)?.runs ?? []) run.cancel();
  change(id, {});
}

export function cancelAll(): void {
  for (const { id } of activeJobs.value) cancel(id);
}

/** What was being drawn when the page was last left, which ended it. */
export function takeInterrupted(): readonly Parameters[] {
  const pending = kept(() => sessionStorage, PENDING, []) as readonly Parameters[];
  keep(() => sessionStorage, PENDING, []);
  return pending;
}

async function run(given: Parameters, raced: boolean): Promise<void> {
  const id = randomId();
  const controls = form.value;
  const isRace = raced && given.sampler !== 'serial';
  const tolerance = numberOf(controls, given, 'tolerance');
  const job: Job = { id, parameters: given, tolerance, raced: isRace, runs: [], images: [], ended: false };
  jobs.value = [job, ...activeJobs.value];
  shownJob.value = id;
  keepPending();
  const models = info.value?.models ?? [];
  const initial = models.length > 0 && modelOf(models, given.model).imageToImage ? source.value : undefined;
  const drawing = streams(async () => {
    // One at a time, so that each has the devices for itself and the times can be compared.
    for (const sampler of isRace ? ['serial', given.sampler] : [given.sampler]) {
      if (cancelled.has(id)) break;
      const phase = await runOnce(id, { ...given, sampler }, initial, sampler === given.sampler);
      if (phase !== 'done') break;
    }
  });
  try {
    await drawing;
  } catch (error) {
    // Such as an initial image that was changed or deleted since it was chosen.
    tell('error', `This could not be drawn: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    cancelled.delete(id);
    change(id, { ended: true });
    keepPending();
  }
}

/** @param isKept whether the images go to the gallery */
async function runOnce(
  id: string,
  given: Parameters,
  initial: SourceImage | undefined,
  isKept: boolean,
): Promise<string> {
  const request = requestOf(form.value, given, initial !== undefined);
  const run = startRun({ ...request, ...(initial && (await sourceFields(initial))) }, Number(given.n), key.value);
  update(id, (job) => ({ ...job, runs: [...job.runs, { run, parameters: given }] }));
  if (cancelled.has(id)) run.cancel();
  const state = await run.ended;
  const { phase, images, seconds, error } = state;
  const outcome = comparisonOf(state, undefined);
  if (outcome !== undefined) learn(given, outcome);
  if (error instanceof ServerError && error.isLost) void waitForServer();
  if (error instanceof ServerError && error.details.status === 401) connection.value = 'locked';
  if (phase === 'done' && isKept) {
    for (const { picture, finished } of images) {
      if (!picture || !finished) continue;
      // What the file says: a single image, with a seed and a sampler of its own, and a strength only after an initial image.
      const own: Parameters = {
        ...(initial ? given : withoutSource(form.value, given)),
        seed: String(finished.seed),
        n: 1,
      };
      const entry = await addToGallery({ parameters: own, file: picture, seconds: seconds ?? 0 });
      update(id, (job) => ({ ...job, images: [...job.images, entry] }));
    }
  }
  return phase;
}

function change(id: string, changes: Partial<Job>): void {
  update(id, (job) => ({ ...job, ...changes }));
}

function update(id: string, next: (job: Job) => Job): void {
  jobs.value = jobs.value.map((job) => (job.id === id ? next(job) : job));
}

function keepPending(): void {
  if (isLeaving) return;
  keep(
    () => sessionStorage,
    PENDING,
    activeJobs.value.map((job) => job.parameters),
  );
}
