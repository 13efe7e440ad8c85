/**
 * The first step of image to image with Stable Diffusion 1.x, 2.x and XL: N - floor(N strength).
 * Source: get_timesteps of diffusers' StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline.
 */
export function wholeSteps(steps: number, strength: number): number {
  return steps - Math.min(Math.floor(steps * strength), steps);
}

/**
 * The first step of image to image with flow matching models: N - N strength, truncated, so that a part of a step is taken whole.
 * Source: get_timesteps of diffusers' StableDiffusion3Img2ImgPipeline, FluxImg2ImgPipeline.
 */
export function startedSteps(steps: number, strength: number): number {
  return Math.trunc(Math.max(steps - Math.min(steps * strength, steps), 0));
}
