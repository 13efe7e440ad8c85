import type { Conditioning } from './conditioning.js';
import type { ImageSize } from './family.js';
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
}

/**
 * The denoising network's conditioning for a prompt. Source: encode_prompt of diffusers' pipelines.
 * @param warn called with a sentence for each text encoder that truncates the prompt, without repetitions
 */
export async function encodePrompt(
  model: ModelFolder,
  networks: Networks,
  { name, text, others = [] }: Prompt,
  { size, guidance, sequenceLength = model.sequenceLength?.default }: EncodeOptions,
  warn: (message: string) => void,
): Promise<Conditioning> {
  const warned = new Set<string>();
  const encode = async (encoder: TextEncoder | undefined, given: string) => {
    if (!encoder) return undefined;
    const { graph, tokenizer, masksPadding } = encoder;
    const length = Math.min(sequenceLength ?? Infinity, tokenizer.maxLength);
    const { ids, mask, cut } = tokenizer.encode(given, length);
    const message = truncationWarning(name, cut, ids.length);
    if (cut && !warned.has(message)) warn(message);
    warned.add(message);
    // An aborted run finishes encoding, so that its graphs can be released.
    const attended = masksPadding ? mask : mask.map(() => 1);
    return networks.encodeText(graph, { ids, mask: attended }, new AbortController().signal);
  };
  const texts = [text, ...others];
  const encoded = await Promise.all(model.textEncoders.map((one, k) => encode(one, texts[k] ?? text)));
  const latents = latentDims(model, size);
  return model.family.condition(encoded, { network: model.network, size, latents, sequenceLength, guidance });
}

function truncationWarning(name: string, cut: string, maxLength: number): string {
  const quoted = cut.length > MAX_QUOTE ? `${cut.slice(0, MAX_QUOTE)}..." (${cut.length} characters)` : `${cut}"`;
  return `the ${name} is longer than the ${maxLength} tokens that the text encoder takes; cut: "${quoted}`;
}
