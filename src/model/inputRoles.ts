import type { InputRole } from '../onnx/graphInfo.js';
import type { GraphName } from './graphNames.js';

/**
 * Inputs of networks, by the names that exports of Optimum give them. Other exports have other names, such as `latent_model_input`, `t`
 * and `text_embeddings`: they are recognized by their axes and their order.
 */
const NETWORK_INPUTS: Readonly<Partial<Record<string, Omit<InputRole, 'name'>>>> = {
  sample: { ranks: [4] },
  timestep: { ranks: [0, 1] },
  encoder_hidden_states: { ranks: [3] },
  text_embeds: { ranks: [2] },
  time_ids: { ranks: [2], last: 6 },
  // Those of transformers. Latents that are packed into tokens have three axes.
  hidden_states: { ranks: [3, 4] },
  pooled_projections: { ranks: [2] },
  guidance: { ranks: [1] },
  // Older exports have a batch axis here.
  img_ids: { ranks: [2, 3], last: 3 },
  txt_ids: { ranks: [2, 3], last: 3 },
};

/** Name of the mask of a text encoder, or of a network's text. */
export const MASK = 'attention_mask';
export const TEXT_MASK = 'encoder_attention_mask';
/** Name of the positions of token ids. */
export const POSITIONS = 'position_ids';

const TEXT_ENCODER: readonly InputRole[] = [
  { name: 'input_ids', ranks: [2], whole: true },
  { name: MASK, ranks: [2], optional: 'mask' },
  { name: POSITIONS, ranks: [2], whole: true, optional: 'position' },
];

/**
 * The inputs that evaluations of a graph give.
 * @param network names of those of the denoising network
 */
export function inputRoles(graph: GraphName, network: readonly string[]): readonly InputRole[] {
  if (graph.startsWith('text_encoder')) return TEXT_ENCODER;
  if (graph.startsWith('vae')) return [{ name: graph === 'vae_decoder' ? 'latent_sample' : 'sample', ranks: [4] }];
  return [
    ...network.map((name) => ({ name, ...NETWORK_INPUTS[name] })),
    { name: TEXT_MASK, ranks: [2], optional: 'encoder_attention_mask' },
  ];
}
