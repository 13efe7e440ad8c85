import type { GenerateOptions } from 'srds';
import type { Reference } from './fixtures.js';

/**
 * A prompt of the references for CLIP. They were made with the slow tokenizer without ftfy, which splits Chinese characters
 * (tokens/clip.json has both); spaces between them give CLIPTokenizerFast the same tokens.
 */
export function forClip(prompt: string): string {
  return prompt.replace(/(?<=\p{Script=Han})(?=\p{Script=Han})/gu, ' ');
}

/** The options of a text-to-image or image-to-image reference of SD3 or Flux. */
export function optionsOf(expected: Reference): GenerateOptions {
  const { metadata } = expected;
  const given = (name: string) => {
    const value = metadata[name] as string | undefined;
    return value === undefined || value === 'null' ? undefined : value;
  };
  const number = (name: string) => (given(name) === undefined ? undefined : Number(given(name)));
  const [width, height] = [Number(metadata.width), Number(metadata.height)];
  const { prompt, model } = metadata;
  const isFlux = model.includes('flux');
  return {
    prompt: forClip(prompt),
    prompt2: given('prompt_2') ?? (isFlux ? prompt : undefined),
    prompt3: given('prompt_3') ?? (isFlux ? undefined : prompt),
    negativePrompt: given('negative_prompt'),
    seed: BigInt(metadata.seed),
    steps: Number(metadata.num_inference_steps),
    guidance: Number(metadata.guidance_scale),
    trueGuidance: number('true_cfg_scale'),
    maxSequenceLength: Number(metadata.max_sequence_length),
    width,
    height,
    strength: number('strength'),
    ...(given('strength') !== undefined && { init: { width, height, data: expected.bytes('init_image_uint8') } }),
  };
}
