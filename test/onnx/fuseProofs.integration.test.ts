// Small graphs that look like what is written in fewer operators, and are it or not: in buckets and as they are they give the same.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DeviceEngine, type Evaluation, type Fused, type GraphFile, type OutputRow } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32, sizeOf } from 'srds/tensor';
import { smallGraph, writeSmall, type SmallGraph, type SmallNode } from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
const random = new Generator(11);
const weight = (...dims: number[]) => ({ dims, values: random.randn(sizeOf(dims)).map((value) => value / 2) });
const filled = (value: number, ...dims: number[]) => ({ dims, values: new Float32Array(sizeOf(dims)).fill(value) });

const NONE: Fused = { attentions: 0, normalizations: 0, residuals: 0, projections: 0 };
/** Shapes of a row of each input. */
interface Case {
  readonly graph: SmallGraph;
  readonly rows: Readonly<Record<string, readonly number[]>>;
  /** undefined: nothing */
  readonly fused?: Partial<Fused>;
  /** What inputs are multiplied by. */
  readonly scale?: number;
  /** An input that is registered. */
  readonly registered?: string;
  /** Whether it cannot run in half precision. */
  readonly single?: boolean;
  /** Whether a row's result depends on its place. */
  readonly placed?: boolean;
}
const cases: Record<string, Case> = {};

const x3 = { inputs: { x: ['rows', 3, 8] }, outputs: 'y' };
const TOKENS = { x: [3, 8] };
const norm = (input: string, output: string, more = {}): SmallNode => [
  'LayerNormalization',
  `${input} g b`,
  output,
  { axis: -1, epsilon: 0.001, ...more },
];
const AFFINE = { g: weight(8), b: weight(8) };

cases['a product, its bias and a residual before a normalization'] = {
  graph: {
    ...x3,
    nodes: [['MatMul', 'x W', 'p'], ['Add', 'c p', 'pc'], ['Add', 'x pc', 's'], norm('s', 'n'), ['Add', 'n s', 'y']],
    weights: { W: weight(8, 8), c: weight(8), ...AFFINE },
  },
  rows: TOKENS,
  fused: { residuals: 1 },
};
cases['a normalization that says no epsilon'] = {
  graph: {
    ...x3,
    nodes: [
      ['MatMul', 'x W', 'p'],
      ['Add', 'p x', 's'],
      ['LayerNormalization', 's g b', 'y'],
    ],
    weights: { W: filled(0, 8, 8), g: filled(1, 8), b: filled(0, 8) },
  },
  rows: TOKENS,
  fused: { residuals: 1 },
  scale: 1e-3,
};
cases['a normalization whose mean is wanted'] = {
  graph: {
    ...x3,
    nodes: [['MatMul', 'x W', 'p'], ['Add', 'p x', 's'], norm('s', 'n mean'), ['Add', 'n mean', 'y']],
    weights: { W: weight(8, 8), ...AFFINE },
  },
  rows: TOKENS,
  single: true,
};
cases['the mean of a normalization as a residual'] = {
  graph: {
    ...x3,
    nodes: [norm('x', 'n mean'), ['MatMul', 'n W', 'p'], ['Add', 'p mean', 's'], norm('s', 'y')],
    weights: { W: weight(8, 8), ...AFFINE },
  },
  rows: TOKENS,
  single: true,
};
cases['a residual that is the same for all tokens'] = {
  graph: {
    ...x3,
    nodes: [
      ['Slice', 'x zero one one', 'first'],
      ['MatMul', 'first W', 'f'],
      ['MatMul', 'x W', 'p'],
      ['Add', 'p f', 's'],
      norm('s', 'y'),
    ],
    weights: { W: weight(8, 8), ...AFFINE },
    numbers: { zero: [0], one: [1] },
  },
  rows: TOKENS,
};
cases['a sum with a bias beside a value of a likely name'] = {
  graph: {
    ...x3,
    nodes: [
      ['MatMul', 'x W', 'p'],
      ['Add', 'p c', 'h'],
      ['Mul', 'x x', 'h/bias'],
      ['Add', 'h h/bias', 'y'],
    ],
    weights: { W: weight(8, 8), c: weight(8) },
  },
  rows: TOKENS,
};

const products = (axis: number, outputs: string, gemm: boolean): SmallGraph => ({
  nodes: [0, 1, 2, 3]
    .flatMap((k): SmallNode[] => [
      gemm ? ['Gemm', `x W${k} c${k}`, `m${k}`] : ['MatMul', `x W${k}`, `m${k}`],
      ['Unsqueeze', `m${k} axis`, `u${k}`],
      ['ReduceSum', `u${k} summed`, `r${k}`, { keepdims: 0 }],
    ])
    .concat([['Sum', 'r0 r1 r2 r3', 'y']]),
  outputs,
  inputs: { x: ['rows', ...(axis === 2 && !gemm && outputs === 'y' ? [3] : []), 8] },
  weights: Object.fromEntries(
    [0, 1, 2, 3].flatMap((k) => [
      [`W${k}`, weight(8, 4 + k)],
      [`c${k}`, weight(4 + k)],
    ]),
  ),
  numbers: { axis: [axis], summed: [outputs === 'y' && !gemm ? -1 : 1] },
});
cases['products of three axes with another put between'] = {
  graph: products(2, 'y', false),
  rows: TOKENS,
  fused: { projections: 1 },
};
cases['products one of which is given out'] = {
  graph: products(2, 'y m1', true),
  rows: { x: [8] },
  fused: { projections: 1 },
};
cases['products that get another axis'] = {
  graph: products(2, 'y', true),
  rows: { x: [8] },
  fused: { projections: 1 },
};

const groupNorm = (shape: number[], groups: number, dims: number[]): SmallGraph => ({
  nodes: [
    ['Conv', 'x K', 'k'],
    ['Reshape', 'k shape', 'r'],
    ['InstanceNormalization', 'r one zero', 'i', { epsilon: 0.001 }],
    ['Shape', 'k', 'whole'],
    ['Reshape', 'i whole', 'back'],
    ['Mul', 'scale back', 'm'],
    ['Add', 'm shift', 'y'],
  ],
  inputs: { x: ['rows', 4, 'height', 'width'] },
  outputs: 'y',
  weights: {
    K: weight(dims[0] === 5 ? 1 : 4, 4, 1, 1),
    one: filled(1, groups),
    zero: filled(0, groups),
    scale: weight(...dims),
    shift: weight(...dims),
  },
  numbers: { shape },
});
for (const [what, shape, groups, dims, size] of [
  ['groups', [0, 2, -1], 2, [4, 1, 1], [3, 3]],
  ['as many groups as there are channels, not said as a number', [0, 0, -1], 4, [4, 1, 1], [3, 6]],
  ['groups of a length that is said', [-1, 2, 4], 2, [4, 1, 1], [2, 8]],
  ['rows that are normalized together', [1, 2, -1], 2, [4, 1, 1], [3, 3]],
  ['one channel that is scaled to several', [0, 1, -1], 1, [5, 1, 1], [3, 3]],
  ['one pixel that is scaled to several', [0, 2, -1], 2, [4, 3, 3], [1, 1]],
] as const) {
  const graph = groupNorm([...shape], groups, [...dims]);
  cases[`normalization of ${what}`] = { graph, rows: { x: [4, ...size] }, fused: { normalizations: 1 } };
}

cases['normalization of two axes whose scale differs between the rows'] = {
  graph: {
    ...groupNorm([0, 2, -1], 2, [4]),
    nodes: groupNorm([0, 2, -1], 2, [4])
      .nodes.slice(1)
      .map(([type, input, ...more]): SmallNode => [type, input.replace(/\bk\b/, 'x'), ...more]),
    inputs: { x: ['rows', 4], scale: ['rows', 4], shift: ['rows', 4] },
    weights: { one: filled(1, 2), zero: filled(0, 2) },
  },
  rows: { x: [4], scale: [4], shift: [4] },
  fused: { normalizations: 1 },
};

const attention = (keys: string, queries = 'x', before: readonly SmallNode[] = [], split = 'split'): SmallGraph => ({
  nodes: [
    ...before,
    ...(['q', 'k', 'v'] as const).flatMap((name): SmallNode[] => [
      ['MatMul', `${name === 'q' ? queries : keys} W${name}`, name],
      ['Reshape', `${name} ${split}`, `${name}r`],
      ['Transpose', `${name}r`, `${name}t`, { perm: name === 'k' ? [0, 2, 3, 1] : [0, 2, 1, 3] }],
    ]),
    ['MatMul', 'qt kt', 'scores'],
    ['Softmax', 'scores', 'shares', { axis: -1 }],
    ['MatMul', 'shares vt', 'o'],
    ['Transpose', 'o', 'ot', { perm: [0, 2, 1, 3] }],
    ['Reshape', 'ot merged', 'y'],
  ],
  ...x3,
  weights: { Wq: weight(8, 8), Wk: weight(8, 8), Wv: weight(8, 8), learned: weight(1, 5, 8) },
  numbers: { split: [0, -1, 2, 4], merged: [0, -1, 8], first: 0, axis: [0], rest: [-1], heads: [2], size: [4] },
});
cases['attention'] = { graph: attention('x'), rows: TOKENS, fused: { attentions: 1 } };
cases['attention to tokens that are the same for all rows'] = { graph: attention('learned'), rows: TOKENS };
cases['attention over axes that have changed places'] = {
  graph: {
    ...attention(
      'z',
      'z',
      [
        ['Transpose', 'x', 'turned', { perm: [1, 0, 2] }],
        ['Add', 'turned c', 'z'],
        ['Shape', 'x', 'whole'],
        ['Gather', 'whole first', 'count'],
        ['Unsqueeze', 'count axis', 'counted'],
        ['Concat', 'counted rest heads size', 'cut', { axis: 0 }],
      ],
      'cut',
    ),
    inputs: { x: ['rows', 3, 8], c: ['rows', 8] },
  },
  rows: { x: [3, 8], c: [8] },
  placed: true,
};
const branch = (node: SmallNode) => smallGraph({ nodes: [node], outputs: node[2] });
cases['conditioning that is read in a graph inside'] = {
  graph: {
    nodes: [
      ['ReduceSum', 'x', 'sum', { keepdims: 0 }],
      ['Greater', 'sum zero', 'positive'],
      [
        'If',
        'positive',
        'read',
        { then_branch: branch(['Neg', 'c', 't']), else_branch: branch(['Identity', 'c', 'e']) },
      ],
      ['ReduceMean', 'read', 'mean', { axes: [1], keepdims: 1 }],
      ['Add', 'x mean', 'y'],
    ],
    inputs: { x: ['rows', 3, 8], c: ['rows', 5, 8] },
    outputs: 'y',
    weights: { zero: filled(0) },
  },
  rows: { x: [3, 8], c: [5, 8] },
  registered: 'c',
  single: true,
};
cases['a weight that is an input too'] = {
  graph: {
    nodes: [['MatMul', 'x W', 'y']],
    inputs: { x: ['rows', 3, 8], W: [8, 8] },
    outputs: 'y',
    weights: { W: weight(8, 8) },
  },
  rows: TOKENS,
};

const names = Object.keys(cases);
const files = Object.fromEntries(
  names.map((name, k): [string, GraphFile] => {
    const path = join(scratch, `${k}.onnx`);
    writeSmall(path, cases[name].graph);
    return [name, { path }];
  }),
);
const plain = await DeviceEngine.open(files);
const buckets = await DeviceEngine.open(files, { buckets: [2] });
const half = await DeviceEngine.open(
  Object.fromEntries(
    names
      .filter((name) => !cases[name].single)
      .map((name) => [name, { ...files[name], precision: 'float16' as const }]),
  ),
  { buckets: [2] },
);
after(async () => {
  await Promise.all([plain, buckets, half].map((engine) => engine.close()));
  rmSync(scratch, { recursive: true });
});

for (const name of names) {
  test(name, async () => {
    const { rows, scale = 1, registered, single, placed, fused } = cases[name];
    const info = buckets.graphs.get(name);
    assert.deepEqual(info?.fused, fused && { ...NONE, ...fused });
    const tensors = [0, 1].map(() =>
      Object.entries(rows).map(([input, dims]) => {
        const values = random.randn(sizeOf(dims)).map((value) => value * scale);
        return [input, float32(values, dims)] as const;
      }),
    );
    const outputs = info!.outputs.map((output) => output.name);
    for (const output of outputs) {
      const results: OutputRow[][] = [];
      for (const engine of single ? [plain, buckets] : [plain, buckets, half]) {
        const batch = tensors.map((row): Evaluation => ({
          graph: name,
          output,
          inputs: Object.fromEntries(row.filter(([input]) => input !== registered)),
          ...(registered !== undefined && {
            conditioning: [engine.register(Object.fromEntries(row.filter(([input]) => input === registered)))],
          }),
        }));
        const valuesOf = async (rows: Evaluation[]) => (await engine.run(rows)).outputs.map(([values]) => values);
        results.push(await valuesOf(batch));
        // The reverse order: a bucket must not reuse inputs of an earlier batch.
        results.push(placed ? await valuesOf(batch) : (await valuesOf(batch.toReversed())).reverse());
      }
      const [[first, second], ...others] = results;
      others.forEach((other, k) => {
        const bound = k < 3 ? 1e-5 : 3e-2;
        [first, second].forEach((expected, row) =>
          expected.forEach((value, at) =>
            assert.ok(Math.abs(value - other[row][at]) <= bound * (1 + Math.abs(value)), `${output} ${k} ${row} ${at}`),
          ),
        );
      });
    }
  });
}
