import { ErrorBar } from './ErrorBar.js';
import { Gantt, seconds } from './Gantt.js';
import type { Parameters } from './parameters.js';
import { serialEstimate, type LiveRun } from './run.js';

interface Props {
  readonly run: LiveRun;
  readonly parameters: Parameters;
  /** Change in grey levels at which the sampler stops; 0 if it does not stop by it. */
  readonly tolerance: number;
  /** Seconds of the serial sampler in the same race. */
  readonly serialSeconds: number | undefined;
}

/** A generation: its image, progress and numbers. */
export function RunPanel({ run, parameters, tolerance, serialSeconds }: Props) {
  const state = run.state.value;
  const estimate = serialEstimate(state);
  const { title, phase, message, image, iterations, batches, evaluations, done, warnings } = state;
  const spent = done ? done.seconds * 1000 : (batches.at(-1)?.end ?? 0);
  const isSerial = parameters.sampler === 'serial' || done?.sampler === 'serial';
  return (
    <section class={`run ${phase}`} aria-label={title} aria-busy={phase !== 'done' && phase !== 'failed'}>
      <h2>{title}</h2>
      <div class="picture">
        {image === undefined ? (
          <div class="empty" />
        ) : (
          <img src={image} alt={`${parameters.prompt}${phase === 'done' ? '' : ', so far'}`} draggable={false} />
        )}
      </div>
      <p class="message" role="status">
        {isSerial && phase === 'done' ? 'done' : message}
      </p>
      {!isSerial && phase !== 'failed' && phase !== 'cancelled' && (
        <ErrorBar iterations={iterations} tolerance={tolerance} />
      )}
      <p class="numbers">
        {evaluations && (
          <span>
            {isSerial
              ? `${evaluations.critical} of ${evaluations.serial} evaluations, one after the other`
              : `${evaluations.critical} sequential evaluations, serial ${evaluations.serial}, ${evaluations.total} in all`}
          </span>
        )}
        {spent > 0 && <span>{seconds(spent)}</span>}
        {!isSerial && serialSeconds !== undefined && <span>serial: {seconds(serialSeconds * 1000)}</span>}
        {!isSerial && serialSeconds === undefined && estimate !== undefined && (
          <span>serial: about {seconds(estimate)}</span>
        )}
        {done?.reason && <span>{done.reason}</span>}
      </p>
      {warnings.map((warning) => (
        <p key={warning} class="warning">
          {warning}
        </p>
      ))}
      <Gantt batches={batches} />
      {done && image !== undefined && (
        <p class="actions">
          <a class="button" href={image} download={fileName(parameters.prompt, done.seed)}>
            Download PNG
          </a>
          <span>seed {done.seed}</span>
        </p>
      )}
    </section>
  );
}

function fileName(prompt: string, seed: number | string): string {
  const words = prompt
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  return `${words.slice(0, 40) || 'image'}-seed${seed}.png`;
}
