import type { NodeProto } from 'onnx-buf';
import { permutation } from '../attributes.js';
import type { GraphView } from '../graphView.js';
import { derived, transposeNode } from '../../nodes.js';

const TO_LAST = [0, 2, 3, 1];
const FROM_LAST = [0, 3, 1, 2];

/** A value of four axes with its channels last, and the node that moves them there; ONNX Runtime removes it where a convolution follows. */
export function channelsLast(
  name: string,
  view: GraphView,
): { readonly name: string; readonly nodes: readonly NodeProto[] } {
  const made = view.maker(name);
  if (made && permutation(made) === FROM_LAST.join()) return { name: made.input[0], nodes: [] };
  const moved = derived(name, 'channels last');
  return { name: moved, nodes: [transposeNode(name, moved, TO_LAST)] };
}

/** A node that moves the channels of a value back to the second axis. */
export function channelsSecond(name: string, output: string): NodeProto {
  return transposeNode(name, output, FROM_LAST);
}
