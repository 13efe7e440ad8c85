/** Name of a text encoder's graph. */
export type TextEncoderName = 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';
/** Name of a denoising network's graph. */
export type DenoiserName = 'unet' | 'transformer';
/** Name of a graph in a model folder, which is that of its subfolder. A folder has one of the denoising networks. */
export type GraphName = TextEncoderName | DenoiserName | 'vae_decoder' | 'vae_encoder';

/** Whether a graph is the denoising network of its folder. */
export function isDenoiser(graph: string): graph is DenoiserName {
  return graph === 'unet' || graph === 'transformer';
}
