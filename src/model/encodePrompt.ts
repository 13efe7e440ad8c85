import type { Conditioning } from './conditioning.js';
import type { ImageSize } from './family.js';
import type { ModelFolder } from './modelFolder.js';
import type { Networks } from './networks.js';

const MAX_QUOTE = 200;

/**
 * The UNet's conditioning for a prompt. Source: encode_prompt of diffusers' StableDiffusionPipeline and
 * StableDiffusionXLPipeline.
 * @param prompt its text, and its name for warnings: `prompt` or `negative prompt`
 * @param size size of the image, which some families condition on
 * @param warn called with a sentence for each text encoder that truncates the prompt, without repetitions
 */
export async function encodePrompt(
  model: ModelFolder,
  networks: Networks,
  { name, text }: { readonly name: string; readonly text: string },
  size: ImageSize,
  warn: (message: string) => void,
): Promise<Conditioning> {
  const warned = new Set<string>();
  const encoded = await Promise.all(
    model.textEncoders.map(({ graph, tokenizer, masksPadding }) => {
      const { ids, mask, cut } = tokenizer.encode(text);
      const message = truncationWarning(name, cut, tokenizer.maxLength);
      if (cut && !warned.has(message)) warn(message);
      warned.add(message);
      // An aborted run finishes encoding, so that its graphs can be released.
      const attended = masksPadding ? mask : mask.map(() => 1);
      return networks.encodeText(graph, { ids, mask: attended }, new AbortController().signal);
    }),
  );
  return model.family.condition(encoded, size);
}

function truncationWarning(name: string, cut: string, maxLength: number): string {
  const quoted = cut.length > MAX_QUOTE ? `${cut.slice(0, MAX_QUOTE)}..." (${cut.length} characters)` : `${cut}"`;
  return `the ${name} is longer than the ${maxLength} tokens that the text encoder takes; cut: "${quoted}`;
}
