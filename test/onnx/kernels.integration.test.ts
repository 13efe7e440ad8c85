// Graphs with the operators of this package's kernels, against the same graphs in ONNX Runtime's, in half precision on the CPU.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Generator } from 'srds/random';
import { sizeOf } from 'srds/tensor';
import { fixture, ROOT } from '../support/fixtures.js';
import { compareKernels, prepareHalf } from '../support/kernelSession.js';
import { writeSmall, type SmallGraph, type SmallNode } from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
const random = new Generator(11);
const weight = (...dims: number[]) => ({ dims, values: random.randn(sizeOf(dims)).map((value) => value / 2) });
const filled = (value: number, ...dims: number[]) => ({ dims, values: new Float32Array(sizeOf(dims)).fill(value) });

/** Largest difference by rounding to half precision in another order. */
const ROUNDING = 0.01;

const unet = (width: number, more = {}) => ({
  sample: [2, 4, 16, 16],
  timestep: [2],
  encoder_hidden_states: [2, 7, width],
  ...more,
});
const decoder = { latent_sample: [2, 4, 8, 8] };
for (const [name, folder, dims, GroupNormalization, Sum, Geglu] of [
  ['the bundled UNet', `${ROOT}models/scenes-128/unet`, unet(128), 30, 18, 7],
  ['the bundled decoder', `${ROOT}models/scenes-128/vae_decoder`, decoder, 17, 3, 0],
  ['SD 1.5', fixture('models/sd15/unet'), unet(32), 21, 6, 4],
  ['SD 2.1', fixture('models/sd21v/unet'), unet(32), 21, 10, 4],
  ['SDXL', fixture('models/sdxl/unet'), unet(64, { text_embeds: [2, 32], time_ids: [2, 6] }), 21, 14, 8],
  ["SDXL's decoder", fixture('models/sdxl/vae_decoder'), decoder, 13, 2, 0],
] as const) {
  test(`${name}: normalizations, sums and gates are one operator each`, async () => {
    const { counts, share } = await compareKernels({ path: `${folder}/model.onnx`, perRow: 'timestep' }, dims);
    assert.deepEqual(counts, { GroupNormalization, Sum, ...(Geglu > 0 && { Geglu }) });
    assert.ok(share < ROUNDING, `${share}`);
  });
}

test('SD 3: the embedding of the text before its normalization', async () => {
  const dims = {
    hidden_states: [2, 16, 8, 8],
    encoder_hidden_states: [2, 7, 80],
    pooled_projections: [2, 56],
    timestep: [2],
  };
  const path = fixture('models/sd3/transformer/model.onnx');
  const { counts, share } = await compareKernels({ path, perRow: 'timestep' }, dims);
  assert.deepEqual(counts, { Sum: 1 });
  assert.ok(share < ROUNDING, `${share}`);
});

test('a graph without such patterns needs no kernels', async () => {
  const path = join(scratch, 'none.onnx');
  writeSmall(path, {
    nodes: [['MatMul', 'x W', 'y']],
    inputs: { x: ['rows', 3, 8] },
    outputs: 'y',
    weights: { W: weight(8, 8) },
  });
  assert.equal((await prepareHalf({ path })).withKernels(), undefined);
});

interface Case extends SmallGraph {
  /** How many operators of each kind there are. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Group normalization of 8 channels in 4 groups, as torch exports it. */
const norm = (x: string, y: string): SmallNode[] => [
  ['Reshape', `${x} split`, `${x}/g`],
  ['InstanceNormalization', `${x}/g ones zeros`, `${x}/i`, { epsilon: 0.001 }],
  ['Shape', x, `${x}/s`],
  ['Reshape', `${x}/i ${x}/s`, `${x}/b`],
  ['Mul', `${x}/b scale`, `${x}/m`],
  ['Add', `${x}/m shift`, y],
];
const silu = (x: string, y: string): SmallNode[] => [
  ['Sigmoid', x, `${x}/sigmoid`],
  ['Mul', `${x} ${x}/sigmoid`, y],
];
const spread = (t: string, y: string): SmallNode[] => [
  ['Unsqueeze', `${t} two`, `${y}/u`],
  ['Unsqueeze', `${y}/u three`, y],
];
const images = {
  inputs: { x: ['rows', 8, 4, 6], t: ['rows', 8] },
  outputs: 'y',
  weights: {
    ones: filled(1, 4),
    zeros: filled(0, 4),
    scale: weight(8, 1, 1),
    shift: weight(8, 1, 1),
    scale3: weight(8, 1),
    shift3: weight(8, 1),
    V: weight(8, 8, 3, 3),
    W: weight(8, 8, 1, 1),
    U: weight(8, 8),
    c: weight(8),
    d: weight(8),
    half: filled(2, 1),
    one: filled(1, 1),
    k: weight(8, 1, 1),
  },
  numbers: { split: [0, 4, -1], two: [2], three: [3], flat: [0, 8, -1] },
};
const conv = (x: string, y: string, bias = ' c'): SmallNode => ['Conv', `${x} V${bias}`, y, { pads: [1, 1, 1, 1] }];
const pointwise = (x: string, y: string, bias = ' d'): SmallNode => ['Conv', `${x} W${bias}`, y];
const ofNorm = (count: number, sums = 0) => ({ GroupNormalization: count, ...(sums > 0 && { Sum: sums }) });

const cases: Record<string, Case> = {
  'a normalization alone': { ...images, nodes: norm('x', 'y'), counts: ofNorm(1) },
  'a convolution, what is spread over its pixels, a normalization and a SiLU': {
    ...images,
    nodes: [conv('x', 'a'), ...spread('t', 'e'), ['Add', 'a e', 's'], ...norm('s', 'n'), ...silu('n', 'y')],
    counts: ofNorm(1),
  },
  'two convolutions with biases whose sum is used elsewhere': {
    ...images,
    nodes: [conv('x', 'a'), pointwise('x', 'b'), ['Add', 'a b', 's'], ...norm('s', 'n'), ['Add', 'n s', 'y']],
    counts: ofNorm(1),
  },
  'a sum that is divided by 1': {
    ...images,
    nodes: [conv('x', 'a'), ['Add', 'a x', 's'], ['Div', 's one', 'q'], ...norm('q', 'n'), ['Add', 'n q', 'y']],
    counts: ofNorm(1),
  },
  'a sum that is divided by 2': {
    ...images,
    nodes: [conv('x', 'a'), ['Add', 'a x', 's'], ['Div', 's half', 'q'], ...norm('q', 'n'), ['Add', 'n q', 'y']],
    counts: ofNorm(1, 1),
  },
  'a sum whose part is used elsewhere': {
    ...images,
    nodes: [conv('x', 'a'), ['Add', 'a x', 's'], ...norm('s', 'n'), ['Add', 'n a', 'y']],
    counts: ofNorm(1),
  },
  'a sum that is an output': {
    ...images,
    outputs: 'y s',
    nodes: [conv('x', 'a'), ['Add', 'a x', 's'], ...norm('s', 'y')],
    counts: ofNorm(1),
  },
  'a sum with a constant': {
    ...images,
    nodes: [conv('x', 'a'), ['Add', 'a k', 's'], ...norm('s', 'y')],
    counts: ofNorm(1),
  },
  'a value that two normalizations read': {
    ...images,
    nodes: [
      conv('x', 'a'),
      ['Add', 'a x', 's'],
      ...norm('s', 'n'),
      ...norm('s', 'm').map(renamed),
      ['Add', 'n m', 'y'],
    ],
    counts: ofNorm(2),
  },
  'a SiLU of a value that is used elsewhere': {
    ...images,
    nodes: [...norm('x', 'n'), ...silu('n', 'u'), ['Add', 'u n', 'y']],
    counts: ofNorm(1),
  },
  'a sigmoid of another value': {
    ...images,
    nodes: [...norm('x', 'n'), ['Sigmoid', 'x', 'u'], ['Mul', 'n u', 'y']],
    counts: ofNorm(1),
  },
  'concatenated values, the first one a sum': {
    ...images,
    weights: { ...images.weights, scale: weight(16, 1, 1), shift: weight(16, 1, 1) },
    nodes: [
      conv('x', 'a'),
      ['Add', 'a x', 's'],
      ['Concat', 's x', 'j', { axis: 1 }],
      ...norm('j', 'n'),
      ['Add', 'n j', 'y'],
    ],
    counts: ofNorm(1),
  },
  'a value that is concatenated with itself': {
    ...images,
    weights: { ...images.weights, scale: weight(16, 1, 1), shift: weight(16, 1, 1) },
    nodes: [conv('x', 'a'), ['Concat', 'a a', 'j', { axis: 1 }], ...norm('j', 'y')],
    counts: ofNorm(1),
  },
  'a sum whose shape is used elsewhere': {
    ...images,
    nodes: [conv('x', 'a'), ['Add', 'a x', 's'], ...norm('s', 'n'), ['Reshape', 'x s/s', 'r'], ['Add', 'n r', 'y']],
    counts: ofNorm(1),
  },
  'concatenated values of more channels than a block has threads, which are moved together': {
    ...images,
    inputs: { x: ['rows', 512, 2, 2] },
    weights: {
      ...images.weights,
      W: { ...weight(512, 512, 1, 1), values: random.randn(512 * 512).map((value) => value / 20) },
      d: weight(512),
      scale: weight(1024, 1, 1),
      shift: weight(1024, 1, 1),
    },
    nodes: [pointwise('x', 'a'), ['Add', 'a x', 's'], ['Concat', 's x', 'j', { axis: 1 }], ...norm('j', 'y')],
    counts: ofNorm(1),
  },
  'a normalization with more channels than a block has threads': {
    ...images,
    inputs: { x: ['rows', 1026, 2, 2] },
    weights: {
      ...images.weights,
      ones: filled(1, 2),
      zeros: filled(0, 2),
      scale: weight(1026, 1, 1),
      shift: weight(1026, 1, 1),
    },
    numbers: { split: [0, 2, -1] },
    nodes: norm('x', 'y'),
    counts: {},
  },
  'values concatenated in rows of pixels': {
    ...images,
    nodes: [conv('x', 'a'), ['Concat', 'a x', 'j', { axis: 2 }], ...norm('j', 'y')],
    counts: {},
  },
  'a normalization of three axes': {
    ...images,
    weights: { ...images.weights, scale: images.weights.scale3, shift: images.weights.shift3 },
    nodes: [['Reshape', 'x flat', 'f'], ...norm('f', 'y')],
    counts: {},
  },
  'a convolution and a residual without a normalization': {
    ...images,
    nodes: [conv('x', 'a'), ['Add', 'x a', 'y']],
    counts: { Sum: 1 },
  },
  'two values without a bias': {
    ...images,
    nodes: [conv('x', 'a', ''), ['Add', 'x a', 'y']],
    counts: {},
  },
};

/** The same nodes with other names of what is between them. */
function renamed([type, input, output, attributes = {}]: SmallNode): SmallNode {
  const other = (names: string) => names.replace(/s\/(\w)/g, 's/other-$1');
  return [type, other(input), other(output), attributes];
}

const tokens = {
  inputs: { x: ['rows', 3, 8] },
  outputs: 'y',
  weights: {
    P: weight(8, 12),
    p: weight(12),
    Q: weight(6, 8),
    R: weight(4, 8),
    q: weight(8),
    root: filled(Math.SQRT2, 1),
    near: filled(1.5, 1),
    one: filled(1, 1),
    half: filled(0.5, 1),
  },
  numbers: { zero: [0], four: [4], six: [6], eight: [8], twelve: [12], last: [-1] },
};
const halves = (first = 'zero six', second = 'six twelve'): SmallNode[] => [
  ['MatMul', 'x P', 'm'],
  ['Add', 'm p', 'w'],
  ['Slice', `w ${first} last`, 'a'],
  ['Slice', `w ${second} last`, 'b'],
];
const gelu = (b: string, root = 'root'): SmallNode[] => [
  ['Div', `${b} ${root}`, 'd'],
  ['Erf', 'd', 'e'],
  ['Add', 'e one', 'f'],
  ['Mul', `${b} f`, 'g'],
  ['Mul', 'g half', 'h'],
];
Object.assign(cases, {
  'a gate': {
    ...tokens,
    nodes: [...halves(), ...gelu('b'), ['Mul', 'a h', 'i'], ['MatMul', 'i Q', 'y']],
    counts: { Geglu: 1 },
  },
  'a gate whose second factor comes first': {
    ...tokens,
    nodes: [...halves(), ...gelu('b'), ['Mul', 'h a', 'i'], ['MatMul', 'i Q', 'y']],
    counts: { Geglu: 1 },
  },
  'a gate by the first half': {
    ...tokens,
    nodes: [...halves(), ...gelu('a'), ['Mul', 'b h', 'i'], ['MatMul', 'i Q', 'y']],
    counts: {},
  },
  'a gate of parts that are no halves': {
    ...tokens,
    nodes: [...halves('zero four', 'four eight'), ...gelu('b'), ['Mul', 'a h', 'i'], ['MatMul', 'i R', 'y']],
    counts: {},
  },
  'a gate with another root': {
    ...tokens,
    nodes: [...halves(), ...gelu('b', 'near'), ['Mul', 'a h', 'i'], ['MatMul', 'i Q', 'y']],
    counts: {},
  },
  'a product, its bias and a residual': {
    ...tokens,
    nodes: [...halves(), ['Mul', 'a b', 'i'], ['MatMul', 'i Q', 'n'], ['Add', 'q n', 'o'], ['Add', 'o x', 'y']],
    counts: { Sum: 1 },
  },
  'a biased product before a normalization': {
    ...tokens,
    weights: { ...tokens.weights, g: weight(12), b: weight(12), Q: weight(12, 8) },
    nodes: [
      ['MatMul', 'x P', 'm'],
      ['Add', 'm p', 'w'],
      ['LayerNormalization', 'w g b', 'n', { axis: -1, epsilon: 0.001 }],
      ['Mul', 'n w', 'i'],
      ['MatMul', 'i Q', 'y'],
    ],
    counts: { Sum: 1 },
  },
  'a biased product and a constant': {
    ...tokens,
    weights: { ...tokens.weights, e: weight(1, 3, 12), Q: weight(12, 8) },
    nodes: [
      ['MatMul', 'x P', 'm'],
      ['Add', 'm p', 'w'],
      ['Add', 'w e', 'i'],
      ['MatMul', 'i Q', 'y'],
    ],
    counts: {},
  },
  'a biased product that is used twice': {
    ...tokens,
    nodes: [
      ...halves(),
      ['Mul', 'a b', 'i'],
      ['MatMul', 'i Q', 'n'],
      ['Add', 'q n', 'o'],
      ['Add', 'o x', 'r'],
      ['Mul', 'r o', 'y'],
    ],
    counts: {},
  },
} satisfies Record<string, Case>);

for (const [k, [name, { counts, ...graph }]] of Object.entries(cases).entries()) {
  test(name, async () => {
    const path = join(scratch, `${k}.onnx`);
    writeSmall(path, graph);
    const dims = Object.entries(graph.inputs ?? {}).map(
      ([input, [, ...more]]) => [input, [2, ...more.map(Number)]] as const,
    );
    const found = await compareKernels({ path }, Object.fromEntries(dims));
    assert.deepEqual(found.counts, counts);
    assert.ok(found.share < ROUNDING, `${found.share}`);
  });
}
