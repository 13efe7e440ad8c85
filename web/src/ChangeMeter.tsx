import type { Iteration } from './run.js';

/** Grey levels of a full and of an empty bar. The scale is logarithmic. */
const FULL = 20;
const EMPTY = 0.02;

interface Props {
  readonly iterations: readonly Iteration[];
  /** Grey levels at which the sampler stops; 0: it runs until the image is exact. */
  readonly tolerance: number;
}

/** A meter of how much the image still changes, with a mark where the sampler stops. */
export function ChangeMeter({ iterations, tolerance }: Props) {
  const residuals = iterations.flatMap(({ residual }) => (residual === null ? [] : [residual]));
  const last = residuals.at(-1);
  const text = last === undefined ? 'not known yet' : `${last.toFixed(2)} of 255 grey levels`;
  return (
    <div class="change">
      <div class="change-head">
        <span>Expected change</span>
        <span class="quiet">{text}</span>
      </div>
      <div
        class="bar"
        role="meter"
        aria-label="Expected change"
        title="How much another refinement would still change the image, as predicted"
        aria-valuemin={EMPTY}
        aria-valuemax={FULL}
        aria-valuenow={Math.min(FULL, Math.max(EMPTY, last ?? FULL))}
        aria-valuetext={text}
      >
        {last !== undefined && <div class="level" style={{ width: `${100 * share(last)}%` }} />}
        {tolerance > EMPTY && <div class="mark" style={{ left: `${100 * share(tolerance)}%` }} />}
      </div>
      <p class="quiet legend">
        {tolerance > 0 ? (
          <>
            <i class="mark-key" /> done below {tolerance} (logarithmic scale)
          </>
        ) : (
          'runs until the image is exactly the serial one (logarithmic scale)'
        )}
      </p>
    </div>
  );
}

function share(residual: number): number {
  return Math.min(1, Math.max(0, Math.log(residual / EMPTY) / Math.log(FULL / EMPTY)));
}
