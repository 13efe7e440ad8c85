import type { ModelFamily } from './family.js';
import { flux } from './flux.js';
import { stableDiffusion } from './stableDiffusion.js';
import { stableDiffusion3 } from './stableDiffusion3.js';
import { stableDiffusionXL } from './stableDiffusionXL.js';

/** Supported model families. */
export const FAMILIES: readonly ModelFamily[] = [stableDiffusion, stableDiffusionXL, stableDiffusion3, flux];

/** Optimum and older diffusers prefix the class of a pipeline that runs on ONNX Runtime. */
const RUNTIME = /^(?:ORT|Onnx)/;

/** Kinds of pipelines that are not supported, by their classes, and why. The first that matches counts. */
const UNSUPPORTED: readonly (readonly [pipeline: RegExp, why: string])[] = [
  [/ControlNet/, 'control nets are not run'],
  [/Inpaint|Fill/, 'networks that take a mask are not supported'],
  [/Flux2/, 'Optimum does not export Flux.2'],
  [/Flux(Kontext|Control|Prior)/, 'networks that take a second image are not supported'],
  [/ZImage/, 'Optimum does not export Z-Image'],
  [/QwenImage/, 'Optimum does not export Qwen-Image'],
  [/Sana/, "Sana's Gemma text encoder and its VAE are not supported"],
  [/LatentConsistency/, 'networks that take the guidance scale as a time embedding are not supported'],
  [/Upscale|Depth2Img|InstructPix2Pix|GLIGEN/i, 'networks that take further inputs are not supported'],
];

/** The family of a pipeline class as model_index.json names it; undefined if it is not supported. */
export function familyOf(className: string): ModelFamily | undefined {
  const plain = className.replace(RUNTIME, '');
  return FAMILIES.find(({ pipelines }) => pipelines.includes(plain));
}

/** Why a pipeline class is not supported; undefined if it is, or is not known. */
export function reasonAgainst(className: string): string | undefined {
  return UNSUPPORTED.find(([pipeline]) => pipeline.test(className))?.[1];
}
