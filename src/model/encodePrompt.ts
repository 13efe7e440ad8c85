import type { Conditioning } from './conditioning.js';
import { ENCODER_TITLES, type ImageSize } from './family.js';
import { latentDims, type ModelFolder, type TextEncoder } from './modelFolder.js';
import type { Networks } from './networks.js';

const MAX_QUOTE = 200;

/** A prompt, and its name for warnings: `prompt` or `negative prompt`. */
export interface Prompt {
  readonly name: string;
  readonly text: string;
  /** Texts for the second and the third text encoder; default: the same. */
  readonly others?: readonly (string | undefined)[];
}

/** What a prompt's conditioning depends on, beside the prompt. */
export interface EncodeOptions {
  /** Size of the image. */
  readonly size: ImageSize;
  /** Number of tokens of T5; default: that of the model. */
  readonly sequenceLength?: number | undefined;
  /** Guidance scale of a network that takes it as an input. */
  readonly guidance: number;
  /** What warnings call an option; default: its name. */
  readonly nameOf?: (option: string) => string;
}

/**
 * The denoising network's conditioning for a prompt. Source: encode_prompt of diffusers' pipelines.
 * @param warn called with a sentence for each text encoder that truncates the prompt, without repetitions
 */
export async function encodePrompt(
  model: ModelFolder,
  networks: Networks,
  { name, text, others = [] }: Prompt,
  { size, guidance, sequenceLength = model.sequenceLength?.default, nameOf = (option) => option }: EncodeOptions,
  warn: (message: string) => void,
): Promise<Conditioning> {
  const warned = new Set<string>();
  const encode = async (encoder: TextEncoder | undefined, prompt: string, given: string) => {
    if (!encoder) return undefined;
    const { graph, kind, tokenizer, masksPadding } = encoder;
    const length = Math.min(sequenceLength ?? Infinity, tokenizer.maxLength);
    const { ids, mask, cut } = tokenizer.encode(given, length);
    const isChosen = kind === 't5' && length < tokenizer.maxLength;
    const hint = isChosen ? `, which takes up to ${tokenizer.maxLength} with ${nameOf('maxSequenceLength')}` : '';
    const message = truncationWarning(prompt, cut, `${ids.length} tokens of ${ENCODER_TITLES[kind]}${hint}`);
    if (cut && !warned.has(message)) warn(message);
    warned.add(message);
    // An aborted run finishes encoding, so that its graphs can be released.
    const attended = masksPadding ? mask : mask.map(() => 1);
    return networks.encodeText(graph, { ids, mask: attended }, new AbortController().signal);
  };
  const encoded = await Promise.all(
    model.textEncoders.map((one, k) => {
      const own = k === 0 ? undefined : others[k - 1];
      return own === undefined ? encode(one, name, text) : encode(one, `${name} ${k + 1}`, own);
    }),
  );
  const latents = latentDims(model, size);
  return model.family.condition(encoded, { network: model.network, size, latents, sequenceLength, guidance });
}

/** @param limit what the prompt is longer than */
function truncationWarning(name: string, cut: string, limit: string): string {
  const quoted = cut.length > MAX_QUOTE ? `${cut.slice(0, MAX_QUOTE)}..." (${cut.length} characters)` : `${cut}"`;
  return `the ${name} is longer than the ${limit}; cut: "${quoted}`;
}
