import type { ModelFamily } from './family.js';
import { stableDiffusion } from './stableDiffusion.js';
import { stableDiffusionXL } from './stableDiffusionXL.js';

/** Supported model families. */
export const FAMILIES: readonly ModelFamily[] = [stableDiffusion, stableDiffusionXL];

/** Optimum and older diffusers prefix the class of a pipeline that runs on ONNX Runtime. */
const RUNTIME = /^(?:ORT|Onnx)/;

/** The family of a pipeline class as model_index.json names it; undefined if it is not supported. */
export function familyOf(className: string): ModelFamily | undefined {
  const plain = className.replace(RUNTIME, '');
  return FAMILIES.find(({ pipelines }) => pipelines.includes(plain));
}
