/** How an image's latents, [channels, height, width], become the sample of a network, its state. */
export interface LatentLayout {
  /** Shape of the state. @param latents shape of the latents */
  readonly dims: (latents: readonly number[]) => number[];
  /** The state of latents. @param dims shape of the latents */
  readonly toState: (latents: Float32Array, dims: readonly number[]) => Float32Array;
  /** The latents of a state. @param dims shape of the latents */
  readonly toLatents: (state: Float32Array, dims: readonly number[]) => Float32Array;
}

/** The state is the latents themselves. */
export const UNPACKED: LatentLayout = {
  dims: (latents) => [...latents],
  toState: (latents) => latents,
  toLatents: (state) => state,
};
