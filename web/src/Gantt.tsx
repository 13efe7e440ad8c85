import type { Batch } from './api.js';

const WIDTH = 600;
const ROW = 9;
const GAP = 2;
/** Further rows overlap the first ones. */
const MAX_ROWS = 40;

interface Bar {
  readonly x: number;
  readonly width: number;
  readonly row: number;
  readonly iteration: number;
}

/** A chart of the evaluations over time: a column for each batch, a colour for each iteration. */
export function Gantt({ batches }: { readonly batches: readonly Batch[] }) {
  if (batches.length === 0) return null;
  const end = Math.max(...batches.map((batch) => batch.end));
  const bars = batches.flatMap((batch): Bar[] =>
    batch.evaluations.map(([iteration], i) => ({
      x: (batch.begin / end) * WIDTH,
      width: Math.max(1, ((batch.end - batch.begin) / end) * WIDTH - 0.5),
      row: i % MAX_ROWS,
      iteration,
    })),
  );
  const rows = Math.max(...bars.map(({ row }) => row)) + 1;
  const height = rows * (ROW + GAP);
  const iterations = Math.max(...bars.map(({ iteration }) => iteration));
  const label = `${bars.length} evaluations in ${batches.length} batches over ${seconds(end)}, up to iteration ${iterations}`;
  return (
    <figure class="gantt">
      <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={label} preserveAspectRatio="none">
        {bars.map(({ x, width, row, iteration }, i) => (
          <rect key={i} x={x} y={row * (ROW + GAP)} width={width} height={ROW} class={`iteration-${iteration % 6}`} />
        ))}
      </svg>
      <figcaption>
        Evaluations over {seconds(end)}: a column is a batch{iterations > 0 && ', a colour an iteration'}
        {iterations > 0 &&
          Array.from({ length: Math.min(6, iterations + 1) }, (_, i) => (
            <span key={i} class={`key iteration-${i}`}>
              {i === 0 ? 'coarse' : i}
            </span>
          ))}
      </figcaption>
    </figure>
  );
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}
