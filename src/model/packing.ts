import type { LatentLayout } from './latentLayout.js';

/** Rows and columns of a cell. */
const CELL = 2;

/**
 * Latents in cells of two rows and two columns, row by row: [height / 2 * width / 2, 4 channels]. Channel c of row dy and column dx of
 * a cell is at 4 c + 2 dy + dx. Source: _pack_latents and _unpack_latents of diffusers' FluxPipeline.
 */
export const PACKED: LatentLayout = {
  dims: ([channels, height, width]) => [(height / CELL) * (width / CELL), channels * CELL ** 2],
  toState: (latents, dims) => {
    const state = new Float32Array(latents.length);
    packing(dims, (inState, inLatents) => (state[inState] = latents[inLatents]));
    return state;
  },
  toLatents: (state, dims) => {
    const latents = new Float32Array(state.length);
    packing(dims, (inState, inLatents) => (latents[inLatents] = state[inState]));
    return latents;
  },
};

/** Calls `move` with the places of each value in the state and in the latents. */
function packing(
  [channels, height, width]: readonly number[],
  move: (inState: number, inLatents: number) => void,
): void {
  let inLatents = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const cell = Math.floor(y / CELL) * (width / CELL) + Math.floor(x / CELL);
        move((cell * channels + c) * CELL ** 2 + CELL * (y % CELL) + (x % CELL), inLatents++);
      }
    }
  }
}
