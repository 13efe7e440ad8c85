import { sigmaScheduler, type ScheduleConfig } from './config.js';

/**
 * abar[t] of the training, bit for bit as diffusers computes it: betas are float32; the cumulative product is float64 and
 * rounded to float32 at each entry.
 * @returns [trainTimesteps]
 */
export function alphasCumprod(config: ScheduleConfig): Float32Array {
  const alphas = cumprod(betas(config).map((beta) => 1 - beta));
  // The first sigma must be finite for classes that step over sigmas. Source: EulerDiscreteScheduler.__init__.
  if (config.zeroSnr && sigmaScheduler(config.scheduler)) alphas[alphas.length - 1] = 2 ** -24;
  return alphas;
}

/**
 * Noise variances of the training. Source: diffusers DDIMScheduler.__init__.
 * @returns [trainTimesteps]
 */
export function betas(config: ScheduleConfig): Float32Array {
  const trained = trainedBetas(config);
  return config.zeroSnr ? rescaleZeroTerminalSnr(trained) : trained;
}

function trainedBetas(config: ScheduleConfig): Float32Array {
  const { trainTimesteps: count, betaStart, betaEnd } = config;
  if (config.trainedBetas) return Float32Array.from(config.trainedBetas);
  switch (config.betaSchedule) {
    case 'linear':
      return linspace(betaStart, betaEnd, count);
    case 'scaled_linear':
      return linspace(Math.sqrt(betaStart), Math.sqrt(betaEnd), count).map((root) => root * root);
    case 'squaredcos_cap_v2': {
      const alphaBar = (u: number) => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Float32Array.from({ length: count }, (_, i) =>
        Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999),
      );
    }
  }
}

/** Rescales betas so that the last timestep has no signal. Source: Lin et al. 2023, algorithm 1; diffusers rescale_zero_terminal_snr. */
function rescaleZeroTerminalSnr(betas: Float32Array): Float32Array {
  const roots = cumprod(betas.map((beta) => 1 - beta)).map(Math.sqrt);
  const [first, last] = [roots[0], roots[roots.length - 1]];
  const scale = Math.fround(first / Math.fround(first - last));
  const alphaBar = roots.map((root) => Math.fround(root - last) * scale).map((root) => root * root);
  return alphaBar.map((value, t) => 1 - (t === 0 ? value : Math.fround(value / alphaBar[t - 1])));
}

/** torch.cumprod in float32, which accumulates in float64. */
function cumprod(values: Float32Array): Float32Array {
  let product = 1;
  return values.map((value) => (product *= value));
}

/** torch.linspace in float32: each entry is one fused multiply-add from the nearer end. */
function linspace(start: number, end: number, count: number): Float32Array {
  const [first, last] = [Math.fround(start), Math.fround(end)];
  const step = count > 1 ? Math.fround(Math.fround(last - first) / (count - 1)) : 0;
  return Float32Array.from({ length: count }, (_, i) =>
    i < Math.floor(count / 2) || count === 1 ? step * i + first : -step * (count - 1 - i) + last,
  );
}
