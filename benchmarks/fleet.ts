// Forecasts of SRDS on 1 to 64 endpoints, for latency curves of full-size networks. Nothing runs. `npm run bench:fleet`
import { markdown } from 'srds/benchmark';
import { plan, rowsThatPay, type LatencyCurve, type Machine } from 'srds/planner';
import { sharesRows } from '../src/planner/curve.js';

/** Seconds that a request spends between srds and the GPU, in the network, in both protocols and in copies. */
const ROUND_TRIP = 0.002;
/** Images at once, where there are several. */
const IMAGES = 8;
const ENDPOINTS = [1, 2, 4, 8, 16, 32, 64];

interface Network {
  readonly title: string;
  /** Seconds of a batch on the GPU, by its rows. */
  readonly seconds: Readonly<Record<number, number>>;
  readonly rowsPerEvaluation: number;
  readonly steps: readonly number[];
}

const NETWORKS: readonly Network[] = [
  {
    title: 'SD-2.1 size, guidance: a row 7.1 ms, two 9.9 ms, from eight on 3.1 ms a row (measured on an H200)',
    seconds: { 1: 0.0071, 2: 0.0099, 8: 0.0248, 16: 0.0496, 32: 0.0992 },
    rowsPerEvaluation: 2,
    steps: [25, 50, 100],
  },
  {
    title:
      'Flux size, distilled guidance: 200 ms a row in batches of any size (assumed for 1024 x 1024 pixels on an H200)',
    seconds: { 1: 0.2, 2: 0.4, 4: 0.8 },
    rowsPerEvaluation: 1,
    steps: [28, 50, 100],
  },
];

function curveOf({ seconds }: Network): LatencyCurve {
  const points = Object.entries(seconds).map(([rows, value]) => ({ rows: Number(rows), seconds: value + ROUND_TRIP }));
  return { points, padded: false };
}

function machineOf(network: Network, endpoints: number, images: number): Machine {
  const { rowsPerEvaluation } = network;
  const curve = curveOf(network);
  return {
    devices: Array.from({ length: endpoints }, () => curve),
    rowsPerEvaluation,
    splitsRows: sharesRows(curve, rowsPerEvaluation, endpoints),
    maxRows: Math.max(rowsPerEvaluation, rowsThatPay(curve)),
    images,
  };
}

interface Seconds {
  readonly serial: number;
  readonly srds: number;
}

/** Seconds of images with the serial sampler, and with SRDS in the blocks that make it fastest. */
function secondsOf(network: Network, steps: number, endpoints: number, images: number): Seconds {
  const { candidates } = plan({ steps }, machineOf(network, endpoints, images));
  const of = (wanted: string) =>
    Math.min(...candidates.filter(({ sampler }) => sampler === wanted).map(({ seconds }) => seconds));
  return { serial: of('serial'), srds: of('srds') };
}

const ratio = (serial: number, srds: number) => `${(serial / srds).toFixed(2)}x`;
for (const network of NETWORKS) {
  const rows = network.steps.flatMap((steps) => {
    const single = ENDPOINTS.map((endpoints) => secondsOf(network, steps, endpoints, 1));
    const several = ENDPOINTS.map((endpoints) => secondsOf(network, steps, endpoints, IMAGES));
    return [
      [`${steps} steps, seconds`, ...single.map(({ srds }) => srds.toFixed(2))],
      ['against serial on one endpoint', ...single.map(({ srds }) => ratio(single[0].serial, srds))],
      ['against serial on the same ones', ...single.map(({ serial, srds }) => ratio(serial, srds))],
      [`${IMAGES} images at once, likewise`, ...several.map(({ serial, srds }) => ratio(serial, srds))],
    ];
  });
  console.log(`${network.title}\n\n${markdown([['endpoints', ...ENDPOINTS.map(String)], ...rows])}\n`);
}
