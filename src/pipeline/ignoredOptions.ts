import type { GenerateOptions, SamplerName } from './options.js';

const ITERATIVE: readonly SamplerName[] = ['srds', 'picard', 'paradigms', 'parataa'];

/** Options that only some samplers take. */
const TAKEN_BY = {
  blocks: ['srds'],
  correction: ['srds'],
  pipelined: ['srds'],
  tolerance: ITERATIVE,
  maxIterations: ITERATIVE,
  window: ['picard', 'paradigms', 'parataa'],
  history: ['parataa'],
  order: ['parataa'],
} satisfies Partial<Record<keyof GenerateOptions, readonly SamplerName[]>>;

/** What `auto` may choose. */
const CHOSEN_BY_AUTO: readonly SamplerName[] = ['serial', 'srds', 'picard'];

/** Whether an option is given that asks for a sampler that refines: where none is named it is srds. */
export function asksToRefine(
  options: Pick<GenerateOptions, 'correction' | 'pipelined' | 'blocks' | 'tolerance' | 'maxIterations'>,
): boolean {
  const { correction, pipelined, blocks, tolerance, maxIterations } = options;
  return [correction, blocks, tolerance, maxIterations].some((value) => value !== undefined) || pipelined === false;
}

/** A warning for options that were given and that the sampler does nothing with; undefined if there are none. */
export function ignoredOptions(options: GenerateOptions, sampler: SamplerName | 'auto'): string | undefined {
  const able = sampler === 'auto' ? CHOSEN_BY_AUTO : [sampler];
  const unused = Object.entries(TAKEN_BY)
    .filter(([name]) => options[name as keyof typeof TAKEN_BY] !== undefined)
    .filter(([, samplers]: [string, readonly SamplerName[]]) => !samplers.some((name) => able.includes(name)))
    .map(([name, samplers]) => `${name} (for ${samplers.join(', ')})`);
  const parts = unused.length === 0 ? [] : [`sampler ${sampler} does nothing with ${unused.join(' and ')}`];
  const { negativePrompt, guidance = Infinity } = options;
  if (negativePrompt && guidance <= 1)
    parts.push(`guidance ${guidance} does nothing with negativePrompt (for guidance above 1)`);
  return parts.length === 0 ? undefined : parts.join('; ');
}
