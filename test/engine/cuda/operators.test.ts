// How the operators start their kernels: the fields of the structs that these take, and what the threads of all blocks cover.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tensor } from '../../../src/engine/cuda/kernels/customOperators.js';
import { kernelOperators } from '../../../src/engine/cuda/kernels/operators.js';
import { KERNEL_SOURCE } from '../../../src/engine/cuda/kernels/source.js';

type Launched = Parameters<Parameters<typeof kernelOperators>[0]>;
type Attributes = Readonly<Record<string, number>>;

const NONE: Tensor = { dims: [], address: 0n };
const GROUP_NORM = { scale: 1, shift: 2, bias: 3, addend: 4, residual: 5, rest: 6, x: 7, y: 8, moments: 9, sum: 10 };

/** The kernels that a node starts. */
function launches(
  operator: string,
  inputs: readonly Tensor[],
  outputs: readonly bigint[],
  attributes: Attributes = {},
) {
  const launched: Launched[] = [];
  const found = kernelOperators((...all) => launched.push(all)).find(({ name }) => name === operator);
  const attribute = (name: string) => attributes[name];
  const compute = found!.prepare({ integer: attribute, real: attribute });
  compute(inputs, (k, dims) => (outputs[k] ? { dims, address: outputs[k] } : NONE), 99n);
  return launched.map(([kernel, settings]) => ({ kernel, ...settings }));
}

/** Names and types of the fields of a struct, those of structs in it included. */
function fieldsOf(struct: string): (readonly [name: string, type: string])[] {
  const body = new RegExp(`struct ${struct} \\{([^}]*)\\}`).exec(KERNEL_SOURCE)?.[1].replace(/\/\*.*?\*\//g, '') ?? '';
  return body.split(';').flatMap((line) => {
    const declaration = /^\s*(?:const )?(\w+) (.*)$/.exec(line);
    if (!declaration) return [];
    const [, type, names] = declaration;
    if (type === 'Terms') return fieldsOf('Terms');
    return names
      .split(',')
      .map((name) => [name.replace('*', '').trim(), name.includes('*') ? 'pointer' : type] as const);
  });
}

/** The struct that a kernel is given, by the names of its fields. */
function structOf(name: string, { parameters }: Launched[1]): Readonly<Record<string, bigint | number>> {
  const fields = fieldsOf(name);
  assert.deepEqual(
    parameters.map(([type]) => type),
    fields.map(([, type]) => type),
  );
  return Object.fromEntries(fields.map(([field], k) => [field, parameters[k][1]]));
}

/** Inputs of a group normalization at the addresses of `GROUP_NORM`. */
function normInputs(rows: number, pixels: number, first: number, rest: number): Tensor[] {
  const at = (name: keyof typeof GROUP_NORM, ...dims: number[]) => ({ dims, address: BigInt(GROUP_NORM[name]) });
  const channels = first + rest;
  return [
    at('x', rows, pixels, 1, first),
    at('scale', channels, 1, 1),
    at('shift', channels, 1, 1),
    at('bias', first),
    at('addend', rows, first, 1, 1),
    at('residual', rows, pixels, 1, first),
    rest > 0 ? at('rest', rows, pixels, 1, rest) : NONE,
  ];
}

const OUTPUTS = [GROUP_NORM.y, GROUP_NORM.moments, GROUP_NORM.sum].map(BigInt);

test('each kernel is given what its struct says', () => {
  const attributes = { groups: 4, silu: 1, epsilon: 0.5 };
  for (const [rows, kernels] of [
    [2, ['groupNormAtOnce']],
    [100, ['groupMoments', 'groupNorm']],
  ] as const) {
    const found = launches('GroupNormalization', normInputs(rows, 30, 8, 4), OUTPUTS, attributes);
    assert.deepEqual(
      found.map(({ kernel }) => kernel),
      kernels,
    );
    for (const one of found) {
      assert.deepEqual([one.stream, one.halves], [99n, 1]);
      const { chunks, pixelsInBlock, ...struct } = structOf('GroupNorm', one);
      assert.ok(Number(chunks) > 0 && Number(pixelsInBlock) > 0);
      const numbers = { first: 8, channels: 12, pixels: 30, groups: 4, silu: 1, epsilon: 0.5 };
      const addresses = Object.fromEntries(Object.entries(GROUP_NORM).map(([name, at]) => [name, BigInt(at)]));
      assert.deepEqual(struct, { ...addresses, ...numbers });
    }
  }
  const x = { dims: [2, 3, 8], address: 1n };
  const [sum] = launches('Sum', [x, { dims: [8], address: 2n }, { ...x, address: 3n }], [4n]);
  const terms = { x: 1n, bias: 2n, addend: 0n, residual: 3n, rest: 0n, first: 8, channels: 8 };
  assert.deepEqual(structOf('Sum', sum), { ...terms, y: 4n, vectors: 6 });
  const [gate] = launches('Geglu', [x, { dims: [8], address: 2n }], [4n]);
  assert.deepEqual(structOf('Geglu', gate), { x: 1n, bias: 2n, y: 4n, vectors: 6, channels: 4 });
});

/** How often each value of a row is computed by the threads of a kernel, as `Place` in the source shares them out. */
function coverage(one: Launched[1] & { kernel: string }, pixels: number, channels: number, groups: number): number[] {
  const { halves, blocks, threads, parameters } = one;
  const struct = structOf('GroupNorm', { halves, blocks, threads, parameters, stream: 0n });
  const atOnce = one.kernel === 'groupNormAtOnce';
  const ofBlock = atOnce ? channels / groups : channels;
  const [vectors, inBlock] = [ofBlock / halves, Number(struct.pixelsInBlock)];
  const lanes = Math.floor(threads / vectors);
  const counts = new Array<number>(pixels * channels).fill(0);
  for (let block = 0; block < blocks[0]; block++) {
    const [firstChannel, firstPixel] = atOnce ? [block * ofBlock, 0] : [0, block * inBlock];
    const to = Math.min(firstPixel + inBlock, pixels);
    for (let thread = 0; thread < threads; thread++) {
      const lane = Math.floor(thread / vectors);
      if (lane >= lanes) continue;
      const channel = firstChannel + (thread - lane * vectors) * halves;
      for (let pixel = firstPixel + lane, n = 0; pixel < to; pixel += lanes, n++) {
        assert.ok(!atOnce || n < 8, 'a thread keeps 8 values');
        for (let k = 0; k < halves; k++) counts[pixel * channels + channel + k]++;
      }
    }
  }
  return counts;
}

test('the threads of all blocks compute every value once', () => {
  const shapes = [
    [1024, 64, 0, 16],
    [1024, 64, 128, 16],
    [256, 128, 256, 16],
    [64, 256, 0, 16],
    [4096, 320, 640, 32],
    [64, 1280, 1280, 32],
    [9, 5, 0, 5],
    [5000, 30, 0, 3],
    [1, 8, 0, 2],
    [35, 12, 6, 3],
  ] as const;
  for (const rows of [1, 2, 24]) {
    for (const [pixels, first, rest, groups] of shapes) {
      const what = JSON.stringify({ rows, pixels, first, rest, groups });
      const attributes = { groups, silu: 0, epsilon: 1e-5 };
      const found = launches('GroupNormalization', normInputs(rows, pixels, first, rest), OUTPUTS, attributes);
      for (const one of found) {
        assert.ok(one.threads >= 32 && one.threads <= 512, `${what}: ${one.threads} threads`);
        assert.ok(one.kernel !== 'groupNormAtOnce' || one.threads % 32 === 0, `${what}: whole warps`);
        assert.equal(one.blocks[1], rows);
        const counts = coverage(one, pixels, first + rest, groups);
        assert.ok(
          counts.every((count) => count === 1),
          `${what}: ${one.kernel}`,
        );
      }
    }
  }
});

test('sizes that a kernel would read or write beyond are errors', () => {
  const attributes = { groups: 4, silu: 0, epsilon: 1e-5 };
  const start = (inputs: readonly Tensor[]) => launches('GroupNormalization', inputs, OUTPUTS, attributes);
  const good = normInputs(2, 6, 8, 4);
  assert.equal(start(good).length, 1);
  for (let k = 0; k < good.length; k++) {
    const wrong = good.with(k, { ...good[k], dims: [...good[k].dims.slice(0, -1), 3] });
    assert.throws(() => start(wrong), /a term has shape|a sum has|Invalid/, `input ${k}`);
  }
  // Without further channels, x has all of them.
  assert.throws(
    () => start(normInputs(2, 6, 8, 0).with(1, { dims: [12, 1, 1], address: 1n })),
    /a sum has 12 channels/,
  );
  const wide = normInputs(100, 6, 2112, 0);
  assert.throws(() => launches('GroupNormalization', wide, OUTPUTS, { ...attributes, groups: 64 }), /too many/);
});
