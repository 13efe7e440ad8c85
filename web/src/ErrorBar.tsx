import type { Iteration } from './run.js';

/** Grey levels of a full and of an empty bar. The scale is logarithmic. */
const FULL = 20;
const EMPTY = 0.02;

/** A meter of the last iteration's change of the image, with a mark at the tolerance. */
export function ErrorBar({
  iterations,
  tolerance,
}: {
  readonly iterations: readonly Iteration[];
  readonly tolerance: number;
}) {
  const residuals = iterations.flatMap(({ residual }) => (residual === null ? [] : [residual]));
  const last = residuals.at(-1);
  const text = last === undefined ? 'not known yet' : `${last.toFixed(2)} grey levels`;
  return (
    <div class="error-bar">
      <div
        role="meter"
        aria-label="Change of the last refinement"
        aria-valuemin={0}
        aria-valuemax={FULL}
        aria-valuenow={Math.min(FULL, last ?? 0)}
        aria-valuetext={text}
      >
        {last !== undefined && <div class="level" style={{ width: `${100 * share(last)}%` }} />}
        {tolerance > EMPTY && <div class="mark" style={{ left: `${100 * share(tolerance)}%` }} title="tolerance" />}
      </div>
      <span aria-hidden="true">change: {text}</span>
    </div>
  );
}

function share(residual: number): number {
  return Math.min(1, Math.max(0, Math.log(residual / EMPTY) / Math.log(FULL / EMPTY)));
}
