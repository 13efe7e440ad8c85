import type { ConditioningId, Engine } from '../engine/engine.js';
import { resized } from '../image/image.js';
import { binaryMask } from '../image/mask.js';
import type { Conditioning } from '../model/conditioning.js';
import { encodePrompt, type Prompt } from '../model/encodePrompt.js';
import type { ModelFolder } from '../model/modelFolder.js';
import type { ModelMemory } from '../model/modelMemory.js';
import type { Networks } from '../model/networks.js';
import type { Settings } from './options.js';

/** What preparing a run needs of a pipeline. */
export interface PrepareContext {
  readonly model: ModelFolder;
  readonly engine: Engine;
  readonly networks: Networks;
  readonly memory: ModelMemory;
}

/** The inputs of a run, registered with the engine. */
export interface PreparedRun {
  readonly conditional: ConditioningId;
  readonly unconditional: ConditioningId | undefined;
  /** What evaluations of a batch must have in common (`Evaluation.group`). */
  readonly group: string;
  /** Output of the VAE encoder for the initial image. */
  readonly encodedInit: Float32Array | undefined;
  /** The pixels to repaint, [height, width], 1 or 0; undefined: all. */
  readonly mask: Uint8Array | undefined;
  /** Seconds of loading graphs, encoding prompts and encoding the initial image. */
  readonly seconds: { readonly load: number; readonly encode: number; readonly init: number };
  /** Frees the registered inputs. */
  release(): void;
}

/** Loads what a run needs, and encodes its prompts and initial image. An aborted run leaves nothing registered. */
export async function prepareRun(
  { model, engine, networks, memory }: PrepareContext,
  settings: Settings,
  warn: (message: string) => void,
  signal: AbortSignal,
): Promise<PreparedRun> {
  signal.throwIfAborted();
  const textLoad = await memory.forText();
  signal.throwIfAborted();
  const start = performance.now();
  const { conditional, unconditional } = await encodePrompts(model, networks, settings, warn);
  const encode = (performance.now() - start) / 1000;
  signal.throwIfAborted();
  const samplingLoad = await memory.forSampling(settings.init !== undefined);
  const begin = performance.now();
  const init = settings.init && (await resized(settings.init, settings.width, settings.height));
  const encodedInit = init && (await networks.encode(init, signal));
  const mask = settings.mask && (await binaryMask(settings.mask, settings.width, settings.height));
  signal.throwIfAborted();
  const register = (one: Conditioning) => engine.register(networks.completed(one));
  const ids = [register(conditional), unconditional && register(unconditional)] as const;
  return {
    conditional: ids[0],
    unconditional: ids[1],
    group: groupOf(conditional, settings),
    encodedInit,
    mask,
    seconds: { load: textLoad + samplingLoad, encode, init: (performance.now() - begin) / 1000 },
    release: () => {
      for (const id of ids) if (id !== undefined) engine.release(id);
    },
  };
}

/** The shapes of the conditioning, and the size of the image, on which positions of tokens depend. */
function groupOf(conditioning: Conditioning, { width, height }: Settings): string {
  const shapes = Object.values(conditioning).map(({ dims }) => dims.join('x'));
  return [`${width}x${height}`, ...shapes].join(' ');
}

/** Guidance needs the negative prompt too; above scale 1 it is evaluated. */
async function encodePrompts(
  model: ModelFolder,
  networks: Networks,
  settings: Settings,
  warn: (message: string) => void,
): Promise<{ readonly conditional: Conditioning; readonly unconditional: Conditioning | undefined }> {
  const { prompt, prompt2, prompt3, negativePrompt, sequenceLength, guidance, nameOf } = settings;
  const options = { size: settings, sequenceLength, guidance, nameOf };
  const encode = (given: Prompt) => encodePrompt(model, networks, given, options, warn);
  const isGuided = settings.cfgScale > 1;
  const [conditional, negative] = await Promise.all([
    encode({ name: 'prompt', text: prompt, others: [prompt2, prompt3] }),
    isGuided && negativePrompt !== null ? encode({ name: 'negative prompt', text: negativePrompt }) : undefined,
  ]);
  return { conditional, unconditional: isGuided ? (negative ?? model.family.zeroed(conditional)) : undefined };
}
