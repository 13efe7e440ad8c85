import { Generator } from '../../src/random/generator.js';
import { drive } from '../../src/run/drive.js';
import { mixtureDenoiser, smoothGrid, TWO_GAUSSIANS } from '../../src/conformance/mixture.js';
import { serial } from '../../src/sampler/serial.js';
import { srds } from '../../src/sampler/srds.js';
import { ddim } from '../../src/solver/ddim.js';

/** The serial sample of a Gaussian mixture, and that of SRDS until exact. It runs in browsers too. */
export async function sampleMixture(): Promise<{ serial: number[]; srds: number[]; critical: number; status: string }> {
  const denoiser = mixtureDenoiser(TWO_GAUSSIANS);
  const start = { x: new Generator(5).randn(2), steps: smoothGrid(49), solver: ddim };
  const reference = await drive(serial(start), { denoiser }).result;
  const parallel = await drive(srds(start), { denoiser }).result;
  const { critical } = parallel.evaluations;
  return { serial: [...reference.x], srds: [...parallel.x], critical, status: parallel.status };
}
