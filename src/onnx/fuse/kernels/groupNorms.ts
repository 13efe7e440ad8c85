import type { GraphProto, NodeProto } from 'onnx-buf';
import { epsilonOf } from '../attributes.js';
import { GraphView } from '../graphView.js';
import { groupNormalizations, type GroupNormalization } from '../groupNorm.js';
import { replaceNodes } from '../operators.js';
import { derived, integer, real } from '../../nodes.js';
import { halvesOf, kernelNode, MOST_GROUPS, MOST_VECTORS } from './domain.js';
import { singleTerm, termsOf, type Terms } from './terms.js';
import { channelsLast, channelsSecond } from './transposes.js';

/**
 * Replaces group normalization (Wu and He 2018), the SiLU after it, and the sum and the biases before it, by one operator.
 * @returns the number of replaced normalizations
 */
export function normalizeInKernels(graph: GraphProto): number {
  const view = new GraphView(graph);
  const replaced = new Map<NodeProto, readonly NodeProto[]>();
  let count = 0;
  for (const norm of groupNormalizations(graph, view)) {
    const all = termsOf(norm.x, view);
    if (view.rank(norm.x) !== 4 || !fits(norm, all, view)) continue;
    count++;
    // A value that several normalizations read is summed by the first one.
    const terms = [...all.replaced.keys()].some((one) => replaced.has(one)) ? singleTerm(norm.x) : all;
    for (const [one, by] of terms.replaced) replaced.set(one, by);
    const silu = siluAfter(norm.shifted, view);
    replaced.set(silu ?? norm.shifted, inKernel(norm, terms, silu, view));
  }
  replaceNodes(graph, replaced);
  return count;
}

/** Whether the kernels can have so many groups and channels. */
function fits({ x, scale, shape }: GroupNormalization, { rest }: Terms, view: GraphView): boolean {
  const [, groups] = shape;
  const channels = view.weight(scale)?.dims[0] ?? 0;
  const joined = rest === undefined ? undefined : view.maker(x)?.input[0];
  // Where the first of two concatenated values has an unknown number of channels, they are moved one by one.
  const first = joined === undefined ? channels : (view.channels(joined) ?? 1);
  return groups <= MOST_GROUPS && channels / halvesOf(channels / groups, first) <= MOST_VECTORS;
}

function inKernel(norm: GroupNormalization, terms: Terms, silu: NodeProto | undefined, view: GraphView): NodeProto[] {
  const { x, scale, shift, shape, shifted, instance } = norm;
  const [, groups] = shape;
  const part = (of: string) => derived(instance.output[0], of);
  const images = [terms.x, terms.residual, terms.rest].map((name) =>
    name === undefined ? undefined : channelsLast(name, view),
  );
  const [whole, residual, rest] = images.map((image) => image?.name);
  // What made the sum is gone, so the operator returns it where other nodes use it.
  const returnsSum = terms.replaced.size > 0 && !isOnlyNormalized(norm, view);
  return [
    ...images.flatMap((image) => image?.nodes ?? []),
    kernelNode(
      'GroupNormalization',
      [whole, scale, shift, terms.bias, terms.addend, residual, rest],
      [part('normalized'), part('moments'), ...(returnsSum ? [part('sum')] : [])],
      [integer('groups', groups), integer('silu', silu ? 1 : 0), real('epsilon', epsilonOf(instance))],
    ),
    channelsSecond(part('normalized'), (silu ?? shifted).output[0]),
    ...(returnsSum ? [channelsSecond(part('sum'), x)] : []),
  ];
}

/** Whether only a normalization uses the value that it normalizes. */
function isOnlyNormalized({ x, reshape, back }: GroupNormalization, view: GraphView): boolean {
  const own = [reshape, view.maker(back.input[1])];
  const inner = [reshape.output[0], back.input[1]];
  return (
    !view.isOutput(x) &&
    view.usersOf(x).every((user) => own.includes(user)) &&
    inner.every((name) => view.onlyUser(name))
  );
}

/** The SiLU of a value, n sigmoid(n), if nothing else uses the value. */
function siluAfter({ output: [name] }: NodeProto, view: GraphView): NodeProto | undefined {
  const users = view.usersOf(name);
  const sigmoid = users.find(({ opType }) => opType === 'Sigmoid');
  const product = sigmoid && view.onlyUser(sigmoid.output[0]);
  const isSilu = product?.opType === 'Mul' && users.includes(product) && users.length === 2 && !view.isOutput(name);
  return isSilu ? product : undefined;
}
