import type { RenderItem } from 'echarts';
import type { Trace } from '../pipeline/trace.js';
import { COLOURS, toSvg } from './svg.js';

/** A rectangle of the chart: from, to, bucket from the top, height in buckets, colour. */
type Bar = readonly [begin: number, end: number, top: number, height: number, colour: number];

const WIDTH = 1100;
const SIDES = { left: 70, right: 20 };
const MARGINS = { top: 85, bottom: 50 };
const LANE_PIXELS = { least: 3, most: 12 };
const DECODING = COLOURS.length - 2;
const COLOUR_CODE =
  'a colour for each iteration, again from the first after six; grey: images that are decoded; pale: rows that fill up a bucket';

/**
 * The evaluations of a run over time: each batch is a column as wide as it took, each evaluation in it a cell in the colour
 * of its iteration, and below are the rows of each batch.
 */
export function gantt({ title, batches, iterations }: Trace): string {
  const devices = [...new Set(batches.map(({ device }) => device))];
  const tallest = devices.map((device) =>
    Math.max(1, ...batches.filter((batch) => batch.device === device).map(({ evaluations }) => evaluations.length)),
  );
  const offset = (device: string) => {
    const k = devices.indexOf(device);
    return tallest.slice(0, k).reduce((sum, count) => sum + count + 1, 0);
  };
  const cells = batches.flatMap(({ graph, device, begin, end, evaluations }) =>
    evaluations.map(([iteration], k): Bar => [
      begin,
      end,
      offset(device) + k,
      1,
      graph === 'unet' ? iteration % DECODING : DECODING,
    ]),
  );
  const buckets = tallest.reduce((sum, count) => sum + count + 1, -1);
  const height = Math.round(
    Math.min(600, Math.max(80, buckets * Math.min(LANE_PIXELS.most, Math.max(LANE_PIXELS.least, 400 / buckets)))),
  );
  const total = Math.max(1, ...batches.map(({ end }) => end));
  const rows = batches
    .filter(({ graph }) => graph === 'unet')
    .map((batch) => [batch.begin, batch.end, batch.rows, batch.paddedRows]);
  const x = { type: 'value', min: 0, max: Math.ceil(total) } as const;
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
        { ...SIDES, top: MARGINS.top + height + 40, height: 110 },
      ],
      xAxis: [
        { ...x, gridIndex: 0, axisLabel: { show: false } },
        { ...x, gridIndex: 1, name: 'ms', nameLocation: 'middle', nameGap: 28 },
      ],
      yAxis: [
        {
          type: 'value',
          gridIndex: 0,
          min: 0,
          minInterval: 1,
          max: Math.max(1, buckets),
          inverse: true,
          name: 'evaluations',
          nameLocation: 'middle',
          nameGap: 45,
          splitLine: { show: false },
        },
        { type: 'value', gridIndex: 1, min: 0, minInterval: 1, name: 'rows', nameLocation: 'middle', nameGap: 45 },
      ],
      series: [
        {
          type: 'custom',
          xAxisIndex: 0,
          yAxisIndex: 0,
          renderItem: cell,
          encode: { x: [0, 1], y: [2] },
          data: cells.map((bar) => [...bar]),
        },
        { type: 'custom', xAxisIndex: 1, yAxisIndex: 1, renderItem: column, encode: { x: [0, 1], y: [3] }, data: rows },
      ],
    },
    { width: WIDTH, height: MARGINS.top + height + 40 + 110 + MARGINS.bottom },
  );
}

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

/** Rows of a batch, and in grey what fills up its bucket. */
const column: RenderItem = (_, api) => {
  const [begin, end, rows, bucket] = [0, 1, 2, 3].map((k) => Number(api.value(k)));
  const [x, zero] = api.coord([begin, 0]);
  const [right, y] = api.coord([end, rows]);
  const [, laneY] = api.coord([end, bucket]);
  const width = Math.max(0.5, right - x - 0.5);
  return {
    type: 'group',
    children: [
      { type: 'rect', shape: { x, y: laneY, width, height: zero - laneY }, style: { fill: '#dddddd' } },
      { type: 'rect', shape: { x, y, width, height: zero - y }, style: { fill: '#555555' } },
    ],
  };
};

function legend(iterations: Trace['iterations']): string {
  const own = iterations.filter(({ image }) => image === 0);
  const parts = own.map(({ iteration, at, residual }) => {
    const change = residual === null ? '' : `, changed by ${residual.toFixed(2)}`;
    return `iteration ${iteration} at ${at.toFixed(0)} ms${change}`;
  });
  return parts.length > 6 ? [...parts.slice(0, 3), '...', ...parts.slice(-2)].join('; ') : parts.join('; ');
}
