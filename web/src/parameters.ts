/** What the form holds: what a request for an image says. */
export interface Parameters {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly model: string;
  readonly steps: number;
  readonly sampler: string;
  readonly tolerance: number;
  readonly guidance: number;
  /** Empty: a random one. */
  readonly seed: string;
  /** WIDTHxHEIGHT, or auto. */
  readonly size: string;
  /** Empty: the model's own. */
  readonly solver: string;
  /** Of SRDS: how many, or the steps of each; empty: the default ones. */
  readonly blocks: string;
  /** Steps at a time, of the other parallel samplers; empty: what suits the devices. */
  readonly window: string;
}

export const DEFAULTS: Parameters = {
  prompt: 'a metal sphere and a small red torus on a wooden floor at night',
  negativePrompt: '',
  model: '',
  steps: 50,
  sampler: 'srds',
  tolerance: 0.5,
  guidance: 5,
  seed: '',
  size: 'auto',
  solver: '',
  blocks: '',
  window: '',
};

const NAMES = Object.keys(DEFAULTS) as (keyof Parameters)[];

/** The content of a request. */
export function requestOf(parameters: Parameters): object {
  const { prompt, negativePrompt, model, steps, sampler, tolerance, guidance, seed, size, solver } = parameters;
  const blocks = [...parameters.blocks.matchAll(/\d+/g)].map(Number);
  return {
    prompt,
    steps,
    sampler,
    guidance,
    size,
    ...(hasTolerance(sampler) && { tolerance }),
    ...(negativePrompt !== '' && { negative_prompt: negativePrompt }),
    ...(model !== '' && { model }),
    ...(seed !== '' && { seed: seed.length > 15 ? seed : Number(seed) }),
    ...(solver !== '' && { solver }),
    ...(sampler === 'srds' && blocks.length > 0 && { blocks: blocks.length === 1 ? blocks[0] : blocks }),
    ...(hasWindow(sampler) && parameters.window !== '' && { window: Number(parameters.window) }),
  };
}

/** Whether a sampler works on a window of steps. */
export function hasWindow(sampler: string): boolean {
  return !['serial', 'srds', 'auto'].includes(sampler);
}

/** Whether the tolerance of the page is this sampler's: ParaDiGMS has one of its own kind. */
export function hasTolerance(sampler: string): boolean {
  return sampler !== 'serial' && sampler !== 'paradigms';
}

/** Parameters as a link carries them: all, since defaults may differ where it leads. */
export function toHash(parameters: Parameters): string {
  const given = NAMES.filter((name) => parameters[name] !== '' || DEFAULTS[name] !== '');
  return new URLSearchParams(given.map((name) => [name, String(parameters[name])])).toString();
}

/** Parameters from a link; what makes no sense is left out. */
export function fromHash(hash: string): Partial<Parameters> {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  return fromTexts(Object.fromEntries(given));
}

const INFOTEXT: Readonly<Record<string, keyof Parameters | undefined>> = {
  Steps: 'steps',
  'CFG scale': 'guidance',
  Seed: 'seed',
  Size: 'size',
  Model: 'model',
  'Parallel sampler': 'sampler',
  'SRDS tolerance': 'tolerance',
  Tolerance: 'tolerance',
  Sampler: 'solver',
  'SRDS blocks': 'blocks',
  Window: 'window',
};

/** A solver, and what Stable Diffusion web UIs call it. */
export interface SolverName {
  readonly name: string;
  readonly title: string;
}

/**
 * Parameters from the text that a PNG carries.
 * Source: AUTOMATIC1111 stable-diffusion-webui, infotext_utils; written by pipeline/parameters.ts.
 */
export function fromInfotext(text: string, solvers: readonly SolverName[]): Partial<Parameters> {
  const lines = text.split('\n');
  const last = lines.length > 1 ? (lines.pop() ?? '').slice(0, MOST) : '';
  const negativeAt = lines.findIndex((line) => line.startsWith('Negative prompt: '));
  const prompt = (negativeAt < 0 ? lines : lines.slice(0, negativeAt)).join('\n');
  const negativePrompt = negativeAt < 0 ? '' : lines.slice(negativeAt).join('\n').replace('Negative prompt: ', '');
  const texts: Record<string, string | undefined> = {};
  for (const match of last.matchAll(/([^:,]+): (?:"((?:[^"\\]|\\.)*)"|([^,]*))(?:, |$)/g)) {
    const [, name, quoted, plain] = match as unknown as [string, string, string | undefined, string | undefined];
    const known = INFOTEXT[name.trim()];
    if (known) texts[known] = quoted === undefined ? plain : unquoted(quoted);
  }
  texts.solver = solvers.find(({ title }) => title === texts.solver)?.name;
  texts.blocks = blocksOf(texts.blocks, Number(texts.steps));
  return { ...fromTexts(texts), prompt, negativePrompt };
}

/** A hostile file must not keep the page busy. */
const MOST = 10_000;

function unquoted(text: string): string {
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return text;
  }
}

/** A file has the steps of each block, where a request with one number means how many; from an image on they are fewer steps. */
function blocksOf(lengths: string | undefined, steps: number): string | undefined {
  const sum = [...(lengths ?? '').matchAll(/\d+/g)].reduce((total, [length]) => total + Number(length), 0);
  if (lengths === undefined || sum !== steps) return undefined;
  return lengths.includes(' ') ? lengths : '1';
}

/** What a PNG's text says that the page has no place for. */
export function leftOut(text: string, solvers: readonly SolverName[]): string[] {
  const last = text.slice(text.lastIndexOf('\n') + 1);
  const solver = /, ?Sampler: ([^,]+)/.exec(last)?.[1];
  const known = solver === undefined || solvers.some(({ title }) => title === solver);
  const given = UNKNOWN.filter((name) => last.includes(`, ${name}`));
  return [...(known ? [] : [`Sampler ${solver}`]), ...given];
}

const UNKNOWN = [
  ...['Eta', 'Denoising strength', 'Guidance rescale', 'Spacing', 'Prediction', 'Schedule type'],
  ...['SRDS correction: parareal', 'SRDS pipelined: false'],
];

function fromTexts(texts: Readonly<Record<string, string | undefined>>): Partial<Parameters> {
  const entries = NAMES.flatMap((name): [string, string | number][] => {
    const text = texts[name];
    if (text === undefined) return [];
    if (typeof DEFAULTS[name] === 'string') return [[name, text]];
    return text.trim() !== '' && Number.isFinite(Number(text)) ? [[name, Number(text)]] : [];
  });
  return Object.fromEntries(entries);
}
