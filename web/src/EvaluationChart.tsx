import { useSignal } from '@preact/signals';
import type { Batch } from './api.js';
import { counted, secondsText } from './progress.js';

/** Units of the drawing, which is stretched to its place. */
const WIDTH = 1000;
const HEIGHT = 100;
/** Colours repeat after so many iterations. */
const COLOURS = 8;
/** Share of a row that stays empty below it. */
const GAP = 0.15;

/**
 * A chart of the evaluations over time: a column for each batch, a row for each of its evaluations, a colour for each iteration. A
 * pointer, or the arrow keys, choose a batch to be described.
 */
export function EvaluationChart({ batches }: { readonly batches: readonly Batch[] }) {
  const chosen = useSignal<number | undefined>(undefined);
  if (batches.length === 0) return null;
  const end = Math.max(...batches.map((batch) => batch.end));
  const rows = Math.max(...batches.map(({ evaluations }) => evaluations.length));
  const last = Math.max(...batches.flatMap(({ evaluations }) => evaluations.map(([iteration]) => iteration)));
  const total = batches.reduce((sum, { evaluations }) => sum + evaluations.length, 0);
  const at = chosen.value === undefined ? undefined : Math.min(chosen.value, batches.length - 1);
  const x = (ms: number) => (ms / end) * WIDTH;
  const summary = `${counted(total, 'evaluation')} in ${batches.length === 1 ? '1 batch' : `${batches.length} batches`}, at most ${rows} at once, over ${secondsText(end / 1000)}`;
  const step = (by: number) => {
    const from = at ?? (by > 0 ? -1 : batches.length);
    chosen.value = Math.min(batches.length - 1, Math.max(0, from + by));
  };
  return (
    <figure class="chart">
      <figcaption>
        <span>Evaluations of the network</span>
        <span class="quiet">
          {rows > 1 ? 'up to ' : ''}
          {rows} at once
        </span>
      </figcaption>
      <div
        class="plot"
        role="slider"
        tabIndex={0}
        aria-label={`Evaluations of the network: ${summary}. Batch`}
        aria-valuemin={1}
        aria-valuemax={batches.length}
        aria-valuenow={(at ?? 0) + 1}
        aria-valuetext={at === undefined ? summary : described(batches, at)}
        onPointerMove={({ clientX, currentTarget }) => {
          const box = currentTarget.getBoundingClientRect();
          const ms = ((clientX - box.left) / box.width) * end;
          chosen.value = nearest(batches, ms);
        }}
        onPointerLeave={() => (chosen.value = undefined)}
        onBlur={() => (chosen.value = undefined)}
        onKeyDown={(event) => {
          if (event.key === 'ArrowRight') step(1);
          else if (event.key === 'ArrowLeft') step(-1);
          else if (event.key === 'Home') step(-batches.length);
          else if (event.key === 'End') step(batches.length);
          else return;
          event.preventDefault();
        }}
      >
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {at !== undefined && (
            <rect
              class="chosen"
              x={x(batches[at].begin)}
              width={Math.max(3, x(batches[at].end - batches[at].begin))}
              height={HEIGHT}
            />
          )}
          {pathsOf(batches, x, HEIGHT / rows).map((path, colour) => (
            <path key={colour} class={`iteration-${colour}`} d={path} />
          ))}
        </svg>
      </div>
      <div class="axis quiet" aria-hidden="true">
        <span>0</span>
        <span>{secondsText(end / 1000)}</span>
      </div>
      <p class="reading">{at === undefined ? <Legend last={last} /> : described(batches, at)}</p>
    </figure>
  );
}

/** One path for each colour: thousands of elements would be slow. */
function pathsOf(batches: readonly Batch[], x: (ms: number) => number, row: number): string[] {
  const paths = Array.from({ length: COLOURS }, () => [] as string[]);
  for (const { begin, end, evaluations } of batches) {
    const width = Math.max(1, x(end - begin) - 1);
    for (const [i, [iteration]] of evaluations.entries()) {
      const left = x(begin).toFixed(1);
      const top = (i * row).toFixed(2);
      paths[iteration % COLOURS].push(`M${left} ${top}h${width.toFixed(1)}v${((1 - GAP) * row).toFixed(2)}H${left}z`);
    }
  }
  return paths.map((parts) => parts.join(''));
}

function Legend({ last }: { readonly last: number }) {
  if (last === 0) return <span class="quiet">Each column is a batch.</span>;
  const shown = Array.from({ length: Math.min(COLOURS, last + 1) }, (_, k) => k);
  return (
    <>
      {shown.map((k) => (
        <span key={k} class="key">
          <i class={`iteration-${k}`} />
          {k === 0 ? 'coarse' : k === 1 ? 'refinement 1' : k}
        </span>
      ))}
      {last >= COLOURS && <span class="quiet">to {last}, colours repeat</span>}
    </>
  );
}

/** The batch that runs at a time, or the one closest to it. */
function nearest(batches: readonly Batch[], ms: number): number {
  const distance = ({ begin, end }: Batch) => Math.max(begin - ms, ms - end, 0);
  return batches.reduce((best, batch, i) => (distance(batch) < distance(batches[best]) ? i : best), 0);
}

/** A batch in words. */
function described(batches: readonly Batch[], at: number): string {
  const { begin, end, evaluations } = batches[at];
  const iterations = [...new Set(evaluations.map(([iteration]) => iteration))].sort((a, b) => a - b);
  const of = iterations.map((k) => (k === 0 ? 'coarse' : `refinement ${k}`)).join(', ');
  // The serial sampler has one block, which has all steps.
  const hasBlocks = batches.some((batch) => batch.evaluations.some(([, block]) => block > 0));
  const where = evaluations.map(([, block, step]) => (hasBlocks ? block : step) + 1);
  const [first, last] = [Math.min(...where), Math.max(...where)];
  const part = hasBlocks ? 'block' : 'step';
  const which = first === last ? `${part} ${first}` : `${part}s ${first} to ${last}`;
  return `Batch ${at + 1} of ${batches.length}: ${counted(evaluations.length, 'evaluation')} (${of}), ${which}, ${(end - begin).toFixed(0)} ms`;
}
