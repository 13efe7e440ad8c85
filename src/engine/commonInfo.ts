import { isShared, type GraphInfo } from '../onnx/graphInfo.js';

/**
 * What is known of a graph from the devices that run it. Those that take one timestep for a batch, round coarsely, or give no images in
 * 8 bits set the rule for all.
 * @param perRow the input that needs one value a row, if any
 */
export function commonInfo(infos: readonly GraphInfo[], perRow: string | undefined): GraphInfo | undefined {
  const isLimited = ({ inputs }: GraphInfo) => inputs.some((input) => input.name === perRow && isShared(input));
  const info = infos.find(isLimited) ?? infos.at(0);
  const image = infos.every((one) => one.image === info?.image) ? info?.image : undefined;
  const roundsCoarsely = infos.some((one) => one.roundsCoarsely || one.precision === 'float16');
  return info && { ...info, image, roundsCoarsely };
}
