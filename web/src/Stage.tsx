import { useEffect, useRef } from 'preact/hooks';
import { Card } from './Card.js';
import { gallery } from './gallery.js';
import type { GalleryImage } from './records.js';
import { Icon } from './Icon.js';
import { ImageActions } from './ImageActions.js';
import { cancel, jobs, shownJob, type Job } from './jobs.js';
import { initialOf } from './parameters.js';
import { form } from './connection.js';
import { urlOf } from './objectUrl.js';
import { progressOf } from './progress.js';
import { RunCard } from './RunCard.js';
import { parameters } from './settings.js';
import { openImage } from './viewer.js';

/** The job that is drawn, or the last image, or what to do first. */
export function Stage() {
  const job = jobs.value.find(({ id }) => id === shownJob.value) ?? jobs.value.at(0);
  const others = jobs.value.filter((other) => other !== job && !other.ended);
  const newest = gallery.value.at(0);
  const element = useRef<HTMLDivElement>(null);
  const id = job?.id;
  useEffect(() => {
    // On a phone the stage is below the form.
    if (id !== undefined && matchMedia('(max-width: 56rem)').matches) element.current?.scrollIntoView();
  }, [id]);
  return (
    <div class="stage" ref={element}>
      {job ? <JobCards job={job} /> : newest ? <LastImage image={newest} /> : <Welcome />}
      {others.length > 0 && <Others jobs={others} />}
    </div>
  );
}

function JobCards({ job }: { readonly job: Job }) {
  const { runs, raced } = job;
  const serial = raced ? runs.find(({ parameters }) => parameters.sampler === 'serial') : undefined;
  const seconds = serial?.run.state.value.seconds;
  if (runs.length === 0) {
    return (
      <Card label="Image" phase="queued" isBusy={!job.ended}>
        <div class="pictures" data-count={1}>
          <div class="picture empty" />
        </div>
        <div class="about">
          <p class="message" role="status">
            {job.ended ? 'Cancelled' : 'Waits for your other images'}
          </p>
        </div>
      </Card>
    );
  }
  return (
    <div class="runs" data-count={runs.length}>
      {runs.map((run) => (
        <RunCard
          key={run.parameters.sampler}
          job={job}
          run={run}
          title={raced ? titleOf(run.parameters.sampler) : undefined}
          raced={run === serial ? undefined : seconds}
        />
      ))}
    </div>
  );
}

/** How the form calls a sampler. */
function titleOf(sampler: string): string {
  const choices = form.value.find(({ name }) => name === 'sampler')?.choices ?? [];
  return choices.find(({ value }) => value === sampler)?.title ?? sampler;
}

/** The newest image of the gallery, after a reload. */
function LastImage({ image }: { readonly image: GalleryImage }) {
  return (
    <Card label="Last image" phase="done" isBusy={false}>
      <div class="pictures" data-count={1}>
        <button type="button" class="picture" title="Show at full size" onClick={() => openImage(image.id)}>
          <img src={urlOf(image.file)} alt={image.parameters.prompt} draggable={false} />
          <Icon name="expand" />
        </button>
      </div>
      <div class="about">
        <h2>Your last image</h2>
        <p>{image.parameters.prompt}</p>
        <ImageActions image={image} />
      </div>
    </Card>
  );
}

const IDEAS = [
  'a red ball beside a blue cube on the beach at sunset',
  'a green cone on a wooden floor, seen from above',
  'a small yellow torus in the snow at night',
];

function Welcome() {
  return (
    <section class="welcome" aria-label="Start">
      <Icon name="image" />
      <h2>Your image appears here</h2>
      <p class="quiet">Describe it and press Draw. It starts coarse and sharpens while you watch.</p>
      <div class="buttons">
        {IDEAS.map((prompt) => (
          <button
            key={prompt}
            type="button"
            class="chip"
            onClick={() => (parameters.value = { ...initialOf(form.value), ...parameters.value, prompt })}
          >
            {prompt}
          </button>
        ))}
      </div>
    </section>
  );
}

/** What is drawn besides the job on the stage. */
function Others({ jobs }: { readonly jobs: readonly Job[] }) {
  return (
    <section class="others" aria-label="Also being drawn">
      <h2>Also being drawn</h2>
      <ul>
        {jobs.map((job) => (
          <li key={job.id}>
            <button type="button" class="text" onClick={() => (shownJob.value = job.id)}>
              {job.parameters.prompt || 'no prompt'}
            </button>
            <span class="quiet">{stateOf(job)}</span>
            <button type="button" onClick={() => cancel(job.id)}>
              Cancel
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function stateOf({ runs }: Job): string {
  const run = runs.at(-1);
  return run ? progressOf(run.run.state.value, performance.now()).text : 'Waits for your other images';
}
