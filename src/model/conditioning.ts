import { float32, type Tensor } from '../tensor/tensor.js';
import type { ModelFolder } from './modelFolder.js';
import type { Networks } from './networks.js';

/** Inputs of the UNet that a prompt decides, each without batch axis. */
export type Conditioning = Readonly<Record<string, Tensor>>;

const MAX_QUOTE = 200;

/**
 * What the UNet is told of a prompt. Source: diffusers StableDiffusionPipeline.encode_prompt; for SDXL
 * StableDiffusionXLPipeline.encode_prompt and _get_add_time_ids.
 * @param name what the prompt is, for warnings
 * @param size of the image in pixels, which SDXL is told
 * @param warn called with a sentence for each encoder whose tokenizer had to cut the prompt
 */
export async function condition(
  model: ModelFolder,
  networks: Networks,
  { name, text }: { readonly name: string; readonly text: string },
  size: { readonly width: number; readonly height: number },
  warn: (message: string) => void,
): Promise<Conditioning> {
  const warned = new Set<string>();
  const encoded = await Promise.all(
    model.textEncoders.map(({ graph, tokenizer }) => {
      const { ids, cut } = tokenizer.encode(text);
      const message = cutWarning(name, cut, tokenizer.maxLength);
      if (cut && !warned.has(message)) warn(message);
      warned.add(message);
      // The text is encoded even for a run that is aborted already: what was begun can be released then.
      return networks.encodeText(graph, ids, new AbortController().signal);
    }),
  );
  const hidden = beside(encoded.map((one) => one.hidden));
  if (model.kind === 'sd') return { encoder_hidden_states: hidden };
  const pooled = encoded[encoded.length - 1].pooled ?? float32(new Float32Array(0), [0]);
  const { width, height } = size;
  // Original size, crop and target size, each height first.
  const timeIds = float32(Float32Array.of(height, width, 0, 0, height, width), [6]);
  return { encoder_hidden_states: hidden, text_embeds: pooled, time_ids: timeIds };
}

/** SDXL's conditioning for a negative prompt that is not given: zeros, but for the sizes. */
export function zeroed(conditioning: Conditioning): Conditioning {
  return Object.fromEntries(
    Object.entries(conditioning).map(([name, tensor]) => [
      name,
      name === 'time_ids' ? tensor : float32(new Float32Array(tensor.data.length), tensor.dims),
    ]),
  );
}

/** [positions, width] of each, side by side. */
function beside(tensors: readonly Tensor[]): Tensor {
  if (tensors.length === 1) return tensors[0];
  const positions = tensors[0].dims[0];
  const width = tensors.reduce((sum, { dims }) => sum + dims[1], 0);
  const all = new Float32Array(positions * width);
  let left = 0;
  for (const { data, dims } of tensors) {
    for (let p = 0; p < positions; p++) {
      all.set((data as Float32Array).subarray(p * dims[1], (p + 1) * dims[1]), p * width + left);
    }
    left += dims[1];
  }
  return float32(all, [positions, width]);
}

function cutWarning(name: string, cut: string, maxLength: number): string {
  const shown = cut.length > MAX_QUOTE ? `${cut.slice(0, MAX_QUOTE)}..." (${cut.length} characters)` : `${cut}"`;
  return `the ${name} is longer than the ${maxLength} tokens that the text encoder takes; cut: "${shown}`;
}
