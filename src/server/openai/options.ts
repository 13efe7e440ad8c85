import { usualSampler, type GenerateOptions } from '../../pipeline/options.js';
import { valuesFromBody } from '../../pipeline/options/body.js';
import { GENERATION_OPTIONS, RANDOM_SEED, withSides } from '../../pipeline/options/generation.js';
import { without } from '../../pipeline/options/option.js';
import type { GenerationRequest, LiveRequest } from './schemas.js';

/** The pipeline's options for a request of /srds/v1/generate, which is a stream with previews. */
export function liveOptionsOf(body: LiveRequest): GenerateOptions {
  return optionsOf({ ...body, stream: true, partial_images: 1 });
}

/** The pipeline's options for a request. */
export function optionsOf(
  body: Omit<LiveRequest, 'image' | 'mask' | 'strength'> & Pick<GenerationRequest, 'stream' | 'partial_images'>,
): GenerateOptions {
  // The strength goes with the initial image.
  const { prompt, ...values } = withSides(valuesFromBody(without(GENERATION_OPTIONS, 'strength'), body));
  const previews = body.stream && body.partial_images > 0;
  return {
    ...values,
    prompt: prompt ?? '',
    seed: values.seed ?? RANDOM_SEED,
    sampler: values.sampler ?? (previews ? 'srds' : usualSampler(values)),
    previews,
  };
}
