import type { DeviceKind } from '../graphInfo.js';
import type { GraphProto, NodeProto } from 'onnx-buf';
import { FLOAT } from '../constants.js';
import { derived, integer, node, valueAttribute, wholeNumbers } from '../nodes.js';
import { GraphView } from './graphView.js';
import { replaceNodes } from './operators.js';

/** 1 in half precision. */
const HALF_ONE = 0x3c00;

/**
 * Replaces group normalization (Wu and He 2018) as torch exports it: InstanceNormalization of [rows, groups, rest] with ones and
 * zeros, then a scale and a shift of each channel. LayerNormalization over the last axis does the same in one kernel, including scale
 * and shift where its kernel supports different ones for each group.
 * @returns the number of replaced normalizations
 */
export function normalizeByLayers(graph: GraphProto, device: DeviceKind): number {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  for (const grouped of groupedNormalizations(graph, view)) {
    const { instance, ones } = grouped;
    const affine = device === 'webgpu' ? undefined : affineAfter(grouped, view);
    if (affine) replaced.set(affine.shifted, withAffine(affine));
    else replaced.set(instance, withOnes(instance, view.constants.get(ones)?.dataType ?? FLOAT));
  }
  replaceNodes(graph, replaced);
  return replaced.size;
}

/** Finds group normalizations with a scale and a shift of each channel. */
export function groupNormalizations(graph: GraphProto, view: GraphView): readonly GroupNormalization[] {
  return groupedNormalizations(graph, view).flatMap((grouped) => affineAfter(grouped, view) ?? []);
}

/** A value split into groups, and the normalization of each. */
interface Grouped {
  readonly instance: NodeProto;
  readonly reshape: NodeProto;
  /** Shape of the split value. */
  readonly shape: readonly [rows: number, groups: number, rest: number];
  /** Name of the normalization's scale. */
  readonly ones: string;
}

function groupedNormalizations(graph: GraphProto, view: GraphView): Grouped[] {
  return graph.node.flatMap((instance) => {
    if (instance.opType !== 'InstanceNormalization') return [];
    const [grouped, ones, zeros] = instance.input;
    const reshape = view.maker(grouped);
    const shape = reshape?.opType === 'Reshape' ? view.numbers(reshape.input[1]) : undefined;
    if (!reshape || shape?.length !== 3 || !isAll(1, ones, view) || !isAll(0, zeros, view)) return [];
    const [rows, groups, rest] = shape;
    return [{ instance, reshape, shape: [rows, groups, rest] as const, ones }];
  });
}

function isAll(value: number, name: string, view: GraphView): boolean {
  const numbers = view.numbers(name);
  return numbers !== undefined && numbers.length > 0 && numbers.every((number) => number === value);
}

/** A group normalization: its result in the shape of x again, scaled and shifted. */
export interface GroupNormalization extends Grouped {
  /** The value before it is split into groups, [rows, channels, ...]. */
  readonly x: string;
  readonly back: NodeProto;
  /** Names of constants, each [channels, 1, ...]. */
  readonly scale: string;
  readonly shift: string;
  /** The last of the nodes. */
  readonly shifted: NodeProto;
}

function affineAfter(grouped: Grouped, view: GraphView): GroupNormalization | undefined {
  const { instance, reshape, shape } = grouped;
  const [rows, groups, rest] = shape;
  if (rows !== 0 || groups <= 0 || rest !== -1) return undefined;
  const [x] = reshape.input;
  const back = view.onlyUser(instance.output[0]);
  if (back?.opType !== 'Reshape' || view.shapeOf(back.input[1]) !== x) return undefined;
  const scaled = view.onlyUser(back.output[0]);
  const shifted = scaled && view.onlyUser(scaled.output[0]);
  if (scaled?.opType !== 'Mul' || shifted?.opType !== 'Add') return undefined;
  const scale = scaled.input.find((name) => name !== back.output[0]);
  const shift = shifted.input.find((name) => name !== scaled.output[0]);
  // Equal for all rows: constants without the row axis.
  const rank = view.rank(x);
  const isPerChannel = (name: string | undefined): name is string => {
    const dims = name === undefined ? undefined : view.weight(name)?.dims;
    if (!dims || dims.length + 1 !== rank) return false;
    const [count, ...others] = dims;
    return count === view.channels(x) && others.every((length) => length === 1);
  };
  return isPerChannel(scale) && isPerChannel(shift) ? { ...grouped, x, back, scale, shift, shifted } : undefined;
}

/** LayerNormalization with a scale and a shift of [1, groups, rest], which ONNX Runtime computes once, when a bucket opens. */
function withAffine(norm: GroupNormalization): NodeProto[] {
  const { x, back, scale, shift, shifted, instance, shape } = norm;
  const [, groups] = shape;
  const name = (part: string) => derived(instance.output[0], part);
  const spread = (values: string, part: string) => [
    node('Expand', [values, name('channels')], name(`${part} by channel`)),
    node('Reshape', [name(`${part} by channel`), name('groups')], name(part)),
  ];
  return [
    node('Shape', [x], name('channels'), { attribute: [integer('start', 1)] }),
    wholeNumbers(name('groups'), [1, groups, -1]),
    ...spread(scale, 'scale'),
    ...spread(shift, 'shift'),
    layerNormalization(instance, [name('scale'), name('shift')], name('normalized')),
    node('Reshape', [name('normalized'), back.input[1]], shifted.output[0]),
  ];
}

function withOnes(instance: NodeProto, dataType: number): NodeProto[] {
  const name = (part: string) => derived(instance.output[0], part);
  const value = dataType === FLOAT ? { floatData: [1] } : { int32Data: [HALF_ONE] };
  const one = valueAttribute({ dataType, dims: [1n], ...value });
  return [
    node('Shape', [instance.input[0]], name('rest'), { attribute: [integer('start', 2), integer('end', 3)] }),
    node('ConstantOfShape', [name('rest')], name('ones'), { attribute: [one] }),
    layerNormalization(instance, [name('ones')], instance.output[0]),
  ];
}

function layerNormalization({ input, attribute }: NodeProto, weights: string[], output: string): NodeProto {
  const epsilon = attribute.filter(({ name }) => name === 'epsilon');
  return node('LayerNormalization', [input[0], ...weights], output, { attribute: [integer('axis', -1), ...epsilon] });
}
