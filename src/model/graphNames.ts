/** Text encoders of a model folder, by the names of their subfolders. */
const TEXT_ENCODERS = ['text_encoder', 'text_encoder_2', 'text_encoder_3'] as const;
/** Denoising networks. A folder has one of them. */
const DENOISERS = ['unet', 'transformer'] as const;
/** Graphs of a model folder, by the names of their subfolders. */
export const GRAPHS = [...TEXT_ENCODERS, ...DENOISERS, 'vae_decoder', 'vae_encoder'] as const;
/** Name of a graph in a model folder. */
export type GraphName = (typeof GRAPHS)[number];
/** Name of a text encoder's graph. */
export type TextEncoderName = (typeof TEXT_ENCODERS)[number];
/** Name of a denoising network's graph. */
export type DenoiserName = (typeof DENOISERS)[number];

/** Whether a graph is the denoising network of its folder. */
export function isDenoiser(graph: string): graph is DenoiserName {
  return (DENOISERS as readonly string[]).includes(graph);
}
