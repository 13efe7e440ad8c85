import type { ScheduleConfig } from './config.js';

/**
 * abar[t] of the training's noise schedule, bit for bit as diffusers computes it: betas in float32, the running product
 * in float64, rounded to float32 at each entry.
 * @returns [trainTimesteps]
 */
export function alphasCumprod(config: ScheduleConfig): Float32Array {
  let product = 1;
  return betas(config).map((beta) => (product *= Math.fround(1 - beta)));
}

/**
 * The training's noise variances. Source: diffusers DDIMScheduler.__init__.
 * @returns [trainTimesteps]
 */
export function betas(config: ScheduleConfig): Float32Array {
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

/** torch.linspace in float32: one fused multiply-add an entry, from the nearer end. */
function linspace(start: number, end: number, count: number): Float32Array {
  const [first, last] = [Math.fround(start), Math.fround(end)];
  const step = count > 1 ? Math.fround(Math.fround(last - first) / (count - 1)) : 0;
  return Float32Array.from({ length: count }, (_, i) =>
    i < Math.floor(count / 2) || count === 1 ? step * i + first : -step * (count - 1 - i) + last,
  );
}
