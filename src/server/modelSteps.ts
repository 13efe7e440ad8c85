import type { ModelFolder } from '../model/modelFolder.js';
import { defaultsFor, type GenerateOptions } from '../pipeline/options.js';

/** Options with the model's own number of steps where none is given, and no more than a request may take. */
export function withSteps(options: GenerateOptions, model: ModelFolder, maxSteps: number): GenerateOptions {
  return { ...options, steps: options.steps ?? Math.min(defaultsFor(model).steps, maxSteps) };
}
