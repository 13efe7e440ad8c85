import { randomInt } from 'node:crypto';
import { asksToRefine } from '../../pipeline/ignoredOptions.js';
import type { GenerateOptions } from '../../pipeline/options.js';
import type { GenerationRequest, LiveRequest } from './schemas.js';

const MAX_RANDOM_SEED = 2 ** 32;

/** The pipeline's options for a request. */
export function optionsOf(
  body: LiveRequest & Pick<GenerationRequest, 'n' | 'stream' | 'partial_images'>,
): GenerateOptions {
  const { prompt, n, steps, guidance, tolerance, blocks, solver, window, size } = body;
  const [width, height] = size === 'auto' ? [] : size.split('x').map(Number);
  const previews = body.stream && body.partial_images > 0;
  const refining = { tolerance, blocks, maxIterations: body.max_iterations };
  return {
    prompt,
    negativePrompt: body.negative_prompt,
    seed: body.seed === undefined ? randomInt(MAX_RANDOM_SEED) : BigInt(body.seed),
    n,
    steps,
    guidance,
    solver,
    width,
    height,
    sampler: body.sampler ?? (previews || asksToRefine(refining) ? 'srds' : 'auto'),
    ...refining,
    window,
    previews,
  };
}
