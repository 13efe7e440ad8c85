// SRDS on a denoiser of your own, without ONNX: samples of eight points on a ring, from their ideal denoiser.
import { drive, type Denoiser } from 'srds/run';
import { Generator } from 'srds/random';
import { serial, srds } from 'srds/sampler';
import { fineGrid, scheduleConfig } from 'srds/schedule';
import { ddim } from 'srds/solver';

const ring = Array.from({ length: 8 }, (_, k) => [3 * Math.cos((k * Math.PI) / 4), 3 * Math.sin((k * Math.PI) / 4)]);

/** Any function from a noisy sample and its noise level to the sample without noise. Requests may overlap. */
const denoiser: Denoiser = async ({ x, level: { alphaBar } }) => {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  const weights = ring.map(([a, b]) =>
    Math.exp(-((x[0] - signal * a) ** 2 + (x[1] - signal * b) ** 2) / (2 * noise ** 2)),
  );
  const total = weights.reduce((sum, weight) => sum + weight) || 1;
  const mean = (axis: number) => ring.reduce((sum, point, k) => sum + (weights[k] / total) * point[axis], 0);
  const x0 = Float32Array.of(mean(0), mean(1));
  return { x0, epsilon: x.map((value, k) => (value - signal * x0[k]) / noise) };
};

const schedule = scheduleConfig({ timestepSpacing: 'trailing' });
const options = { x: new Generator(3).randn(2), steps: fineGrid(schedule, 100), solver: ddim };
const parallel = await drive(srds(options), { denoiser, tolerance: 1e-3 }).result;
const reference = await drive(serial(options), { denoiser }).result;
console.log(
  `${parallel.status}: (${parallel.x.join(', ')}) in ${parallel.evaluations.critical} sequential evaluations`,
);
console.log(`serial: (${reference.x.join(', ')}) in ${reference.evaluations.critical}`);
