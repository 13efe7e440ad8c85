import { useEffect } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import { Card } from './Card.js';
import { ChangeMeter } from './ChangeMeter.js';
import { comparisonOf } from './comparison.js';
import { form } from './connection.js';
import { EvaluationChart } from './EvaluationChart.js';
import { explain } from './explain.js';
import { Icon } from './Icon.js';
import { ImageActions } from './ImageActions.js';
import { activeJobs, cancel, drawAgain, type Job, type JobRun } from './jobs.js';
import { urlOf } from './objectUrl.js';
import { progressOf, secondsText } from './progress.js';
import type { RunImage, RunState } from './run.js';
import { openImage } from './viewer.js';

const TICK_MS = 500;

interface Props {
  readonly job: Job;
  readonly run: JobRun;
  /** The title, where a job has several runs. */
  readonly title?: string | undefined;
  /** Seconds of the serial run of the same race. */
  readonly raced: number | undefined;
}

/** A run: its pictures, how far it is, and how it was drawn. */
export function RunCard({ job, run: { run, parameters }, title, raced }: Props) {
  const state = run.state.value;
  const { phase, plan, error } = state;
  const isOver = phase === 'done' || phase === 'failed' || phase === 'cancelled';
  const isSerial = parameters.sampler === 'serial' || plan?.sampler === 'serial';
  const kept = parameters.sampler === job.parameters.sampler ? job.images : [];
  const name = title ?? 'Image';
  return (
    <Card label={name} phase={phase} isBusy={!isOver}>
      <div class="pictures" data-count={state.images.length}>
        {state.images.map((image, i) => (
          <Picture key={i} image={image} prompt={parameters.prompt} isOver={isOver} onOpen={openerOf(kept[i]?.id)} />
        ))}
      </div>
      <div class="about">
        {title !== undefined && <h2>{title}</h2>}
        <Progress state={state} isOver={isOver} />
        {phase === 'failed' && (
          <p class="failure" role="alert">
            {explain(error, form.value)}
          </p>
        )}
        {(phase === 'failed' || phase === 'cancelled') && (
          <div class="buttons">
            <button type="button" onClick={() => drawAgain(job.parameters, job.raced)}>
              Draw it again
            </button>
          </div>
        )}
        {!isOver && activeJobs.value.length > 1 && (
          <div class="buttons">
            <button type="button" onClick={() => cancel(job.id)}>
              Cancel this
            </button>
          </div>
        )}
        {phase === 'done' && kept.length === 1 && <ImageActions image={kept[0]} />}
        <Numbers state={state} raced={raced} />
        {!isSerial && state.images.length === 1 && phase !== 'failed' && phase !== 'cancelled' && (
          <ChangeMeter iterations={state.images[0].iterations} tolerance={job.tolerance} />
        )}
        {state.warnings.map((warning) => (
          <p key={warning} class="quiet">
            Note: {warning}.
          </p>
        ))}
        <EvaluationChart batches={state.batches} />
      </div>
    </Card>
  );
}

function openerOf(id: string | undefined): (() => void) | undefined {
  return id === undefined ? undefined : () => openImage(id);
}

interface PictureProps {
  readonly image: RunImage;
  readonly prompt: string;
  readonly isOver: boolean;
  readonly onOpen: (() => void) | undefined;
}

function Picture({ image: { picture }, prompt, isOver, onOpen }: PictureProps) {
  if (!picture) return <div class={`picture empty ${isOver ? '' : 'busy'}`} />;
  const shown = <img src={urlOf(picture)} alt={onOpen ? prompt : `${prompt}, so far`} draggable={false} />;
  if (!onOpen) return <div class="picture">{shown}</div>;
  return (
    <button type="button" class="picture" title="Show at full size" onClick={onOpen}>
      {shown}
      <Icon name="expand" />
    </button>
  );
}

/** A bar with what the run does, in words. */
function Progress({ state, isOver }: { readonly state: RunState; readonly isOver: boolean }) {
  const now = useSignal(performance.now());
  useEffect(() => {
    if (isOver) return;
    // Estimates count down between events.
    const timer = setInterval(() => (now.value = performance.now()), TICK_MS);
    return () => clearInterval(timer);
  }, [isOver]);
  const { share, text } = progressOf(state, now.value);
  return (
    <div class="progress">
      <p class="message" role="status">
        {text}
      </p>
      {!isOver && (
        <div
          class="bar"
          role="progressbar"
          aria-label="Progress"
          aria-valuetext={text}
          {...(share !== undefined && {
            'aria-valuenow': Math.round(100 * share),
            'aria-valuemin': 0,
            'aria-valuemax': 100,
          })}
        >
          <div class={`level ${share === undefined ? 'unknown' : ''}`} style={{ width: `${100 * (share ?? 0.3)}%` }} />
        </div>
      )}
    </div>
  );
}

function Numbers({ state, raced }: { readonly state: RunState; readonly raced: number | undefined }) {
  const { images, seconds, plan, phase } = state;
  const counts = images.flatMap(({ evaluations }) => evaluations ?? []);
  const seeds = images.flatMap(({ finished }) => finished?.seed ?? []);
  const comparison = comparisonOf(state, raced);
  const isAuto = plan?.reason != null;
  return (
    <>
      {isAuto && phase === 'sampling' && (
        <p class="quiet">
          Auto took {plan.sampler}: {plan.reason}.
        </p>
      )}
      {comparison !== undefined && <p class="comparison">{comparison}</p>}
      <dl class="numbers">
        {seconds !== undefined && (
          <div>
            <dt>Time</dt>
            <dd>{secondsText(seconds)}</dd>
          </div>
        )}
        {counts.length > 0 && (
          <div title="Evaluations of the network that had to wait for each other. The serial sampler makes all of them one after the other.">
            <dt>In a row</dt>
            <dd>
              {Math.max(...counts.map(({ critical }) => critical))} of {counts[0].serial}
            </dd>
          </div>
        )}
        {counts.length > 0 && (
          <div title="Evaluations of the network, those at the same time included">
            <dt>In all</dt>
            <dd>{counts.reduce((sum, { total }) => sum + total, 0)}</dd>
          </div>
        )}
        {seeds.length > 0 && (
          <div>
            <dt>{seeds.length === 1 ? 'Seed' : 'Seeds'}</dt>
            <dd>{seeds.length === 1 ? seeds[0] : `${seeds[0]} to ${seeds.at(-1)}`}</dd>
          </div>
        )}
      </dl>
    </>
  );
}
