import { z } from 'zod';
import type { Level, NetworkFacts } from './family.js';
import { OTHER_UNETS } from './fixedShapes.js';

const channels = z.array(z.int().positive()).min(1);
const side = z.int().positive();

/** A number for all levels of a network, or one for each. */
const perLevel = z.union([z.int().positive(), channels]);

const schema = z.object({
  in_channels: z.literal(4, {
    error: ({ input }) =>
      `only UNets of 4 latent channels are supported, found ${String(input)}${OTHER_UNETS[Number(input)] ?? ''}`,
  }),
  sample_size: z.union([z.tuple([side, side]), side.transform((both): [number, number] => [both, both])]),
  block_out_channels: channels,
  down_block_types: z.array(z.string()).default([]),
  up_block_types: z.array(z.string()).default([]),
  // diffusers takes the dimension of a head for the number of heads if that is missing, as in every Stable Diffusion model.
  num_attention_heads: perLevel.nullish(),
  attention_head_dim: perLevel.nullish(),
  time_cond_proj_dim: z.null('UNets that take the guidance scale as an input are not supported').optional(),
});

/**
 * ONNX Runtime's CPU kernels round the elements after the last whole vector differently. Layers whose width is a multiple of
 * this have no such elements; others have them in the last row of an odd batch (measured).
 */
const VECTOR = 32;

/** The content of a UNet's config.json. @param inputs names of its inputs */
export function unetConfig(inputs: readonly string[]): z.ZodType<NetworkFacts> {
  return schema.transform((unet) => ({
    latentChannels: unet.in_channels,
    sampleSize: unet.sample_size,
    latentStep: 2 ** (unet.block_out_channels.length - 1),
    inputs,
    embedsGuidance: false,
    evenRows: unet.block_out_channels.some((count) => count % VECTOR !== 0),
    levels: (latents) => levelsOf(unet, latents),
  }));
}

/** Heads of a level without a number of its own, as in diffusers. */
const USUAL_HEADS = 8;

function levelsOf(unet: z.infer<typeof schema>, latents: number): Level[] {
  const { block_out_channels, down_block_types: down, up_block_types: up } = unet;
  const heads = unet.num_attention_heads ?? unet.attention_head_dim ?? USUAL_HEADS;
  const last = block_out_channels.length - 1;
  return block_out_channels.map((count, k) => {
    // The middle block, at the last level, has attentions in any case.
    const attends = k === last || [down.at(k), up.at(last - k)].some((type) => type?.includes('Attn'));
    const own = typeof heads === 'number' ? heads : (heads[k] ?? USUAL_HEADS);
    return { positions: Math.ceil(latents / 4 ** k), channels: count, heads: attends ? own : 0 };
  });
}
