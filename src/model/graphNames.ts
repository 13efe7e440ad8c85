/** Graphs of a model folder, by the names of their subfolders. */
export const GRAPHS = ['text_encoder', 'text_encoder_2', 'unet', 'vae_decoder', 'vae_encoder'] as const;
/** Name of a graph in a model folder. */
export type GraphName = (typeof GRAPHS)[number];
/** Name of a text encoder's graph. */
export type TextEncoderName = 'text_encoder' | 'text_encoder_2';
