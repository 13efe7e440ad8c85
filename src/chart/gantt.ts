import type { RenderItem } from 'echarts';
import { isDenoiser } from '../model/graphNames.js';
import type { Trace } from '../pipeline/trace.js';
import { COLOURS, toSvg } from './svg.js';

/** A rectangle of the upper chart: start and end in ms, top and height in rows, index of its colour. */
type Bar = readonly [begin: number, end: number, top: number, height: number, colour: number];

const WIDTH = 1100;
const SIDES = { left: 70, right: 20 };
const MARGINS = { top: 85, bottom: 50 };
/** Space between the charts and height of the lower one, in pixels. */
const LOWER = { gap: 40, height: 110 };
/** Height of an evaluation's row in the upper chart, in pixels. */
const ROW_PIXELS = { min: 3, max: 12 };
/** Height of the upper chart, in pixels. */
const UPPER = { min: 80, usual: 400, max: 600 };
const DECODING = COLOURS.length - 2;
const COLOUR_CODE =
  'colour: iteration, from the first colour again after six; grey: images being decoded; pale: padding rows of a batch';

/**
 * A Gantt chart of a run as SVG. In the upper chart each batch is a column as wide as its duration, and each of its evaluations
 * is a cell in the colour of its iteration. The lower chart shows the rows of each batch, with padding in grey.
 */
export function gantt({ title, batches, iterations }: Trace): string {
  const { bars, rows } = layOut(batches);
  const height = upperHeight(rows);
  const lowerTop = MARGINS.top + height + LOWER.gap;
  const total = Math.max(1, ...batches.map(({ end }) => end));
  const batchRows = batches
    .filter(({ graph }) => isDenoiser(graph))
    .map((batch) => [batch.begin, batch.end, batch.rows, batch.paddedRows]);
  const x = { type: 'value', min: 0, max: Math.ceil(total) } as const;
  const y = { type: 'value', min: 0, minInterval: 1, nameLocation: 'middle', nameGap: 45 } as const;
  return toSvg(
    {
      title: {
        text: title,
        subtext: `${legend(iterations)}\n${COLOUR_CODE}`,
        textStyle: { fontSize: 14 },
        left: 10,
        top: 8,
      },
      grid: [
        { ...SIDES, top: MARGINS.top, height },
        { ...SIDES, top: lowerTop, height: LOWER.height },
      ],
      xAxis: [
        { ...x, gridIndex: 0, axisLabel: { show: false } },
        { ...x, gridIndex: 1, name: 'ms', nameLocation: 'middle', nameGap: 28 },
      ],
      yAxis: [
        {
          ...y,
          gridIndex: 0,
          max: Math.max(1, rows),
          inverse: true,
          name: 'evaluations',
          splitLine: { show: false },
        },
        { ...y, gridIndex: 1, name: 'rows' },
      ],
      series: [
        {
          type: 'custom',
          xAxisIndex: 0,
          yAxisIndex: 0,
          renderItem: cell,
          encode: { x: [0, 1], y: [2] },
          data: bars.map((bar) => [...bar]),
        },
        {
          type: 'custom',
          xAxisIndex: 1,
          yAxisIndex: 1,
          renderItem: column,
          encode: { x: [0, 1], y: [3] },
          data: batchRows,
        },
      ],
    },
    { width: WIDTH, height: lowerTop + LOWER.height + MARGINS.bottom },
  );
}

/** Stacks the devices, each as high as its largest batch, with an empty row between them. */
function layOut(batches: Trace['batches']): { readonly bars: readonly Bar[]; readonly rows: number } {
  const tops = new Map<string, number>();
  let next = 0;
  for (const name of new Set(batches.map(({ device }) => device))) {
    tops.set(name, next);
    const own = batches.filter(({ device }) => device === name);
    next += Math.max(1, ...own.map(({ evaluations }) => evaluations.length)) + 1;
  }
  const bars = batches.flatMap(({ graph, device, begin, end, evaluations }) =>
    evaluations.map(([iteration], k): Bar => {
      const colour = isDenoiser(graph) ? iteration % DECODING : DECODING;
      return [begin, end, (tops.get(device) ?? 0) + k, 1, colour];
    }),
  );
  return { bars, rows: next - 1 };
}

function upperHeight(rows: number): number {
  const rowPixels = Math.min(ROW_PIXELS.max, Math.max(ROW_PIXELS.min, UPPER.usual / rows));
  return Math.round(Math.min(UPPER.max, Math.max(UPPER.min, rows * rowPixels)));
}

/** Renders an evaluation. */
const cell: RenderItem = (_, api) => {
  const [begin, end, top, height, colour] = [0, 1, 2, 3, 4].map((k) => Number(api.value(k)));
  const [x, y] = api.coord([begin, top]);
  const [right, bottom] = api.coord([end, top + height]);
  const gap = bottom - y > 4 ? 1 : 0;
  return {
    type: 'rect',
    shape: { x, y, width: Math.max(0.5, right - x - 0.5), height: Math.max(0.5, bottom - y - gap) },
    style: { fill: COLOURS[colour] },
  };
};

/** Renders a batch's rows, and its padding rows in grey. */
const column: RenderItem = (_, api) => {
  const [begin, end, rows, paddedRows] = [0, 1, 2, 3].map((k) => Number(api.value(k)));
  const [x, zero] = api.coord([begin, 0]);
  const [right, y] = api.coord([end, rows]);
  const [, paddedY] = api.coord([end, paddedRows]);
  const width = Math.max(0.5, right - x - 0.5);
  return {
    type: 'group',
    children: [
      { type: 'rect', shape: { x, y: paddedY, width, height: zero - paddedY }, style: { fill: '#dddddd' } },
      { type: 'rect', shape: { x, y, width, height: zero - y }, style: { fill: '#555555' } },
    ],
  };
};

/** Times of the first image's iterations, abbreviated if there are more than six. */
function legend(iterations: Trace['iterations']): string {
  const own = iterations.filter(({ image }) => image === 0);
  const parts = own.map(({ iteration, at, residual }) => {
    const change = residual === null ? '' : `, residual ${residual.toFixed(2)}`;
    return `iteration ${iteration} at ${at.toFixed(0)} ms${change}`;
  });
  return parts.length > 6 ? [...parts.slice(0, 3), '...', ...parts.slice(-2)].join('; ') : parts.join('; ');
}
