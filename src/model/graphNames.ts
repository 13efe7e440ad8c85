/** Name of a text encoder's graph. */
export type TextEncoderName = 'text_encoder' | 'text_encoder_2';
/** Name of a graph in a model folder, which is that of its subfolder. */
export type GraphName = TextEncoderName | 'unet' | 'vae_decoder' | 'vae_encoder';
