/** Graphs of a model folder, by the names of their subfolders. A folder has one of the denoising networks. */
export const GRAPHS = [
  'text_encoder',
  'text_encoder_2',
  'text_encoder_3',
  'unet',
  'transformer',
  'vae_decoder',
  'vae_encoder',
] as const;
/** Name of a graph in a model folder. */
export type GraphName = (typeof GRAPHS)[number];
/** Name of a text encoder's graph. */
export type TextEncoderName = 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';
/** Name of a denoising network's graph. */
export type DenoiserName = 'unet' | 'transformer';

/** Whether a graph is the denoising network of its folder. */
export function isDenoiser(graph: string): graph is DenoiserName {
  return graph === 'unet' || graph === 'transformer';
}
