/**
 * The kernels for CUDA, one by one: their largest error, beside a computation in float64, and their time. It fails if an error is larger than
 * rounding. `npm run bench:kernels`
 *
 * Shapes are those of the bundled model, of Stable Diffusion 2.1 and of its VAE.
 */
import { f16round } from '@petamoriken/float16';
import { markdown } from 'srds/benchmark';
import { pointerFrom } from '../src/engine/koffi.js';
import { CudaRuntime } from '../src/engine/cuda/cudaRuntime.js';
import { CudaKernels } from '../src/engine/cuda/kernels/cudaKernels.js';
import type { Tensor } from '../src/engine/cuda/kernels/customOperators.js';
import { kernelOperators } from '../src/engine/cuda/kernels/operators.js';
import { OrtApi, type Pointer } from '../src/engine/cuda/ortApi.js';
import { sizeOf } from '../src/tensor/tensor.js';
import { readHalves, writeHalves } from '../test/support/float16.js';
import { REFERENCE, type Values } from '../test/support/kernelReference.js';

/** Runs in a CUDA graph, and graphs of which the fastest counts. */
const RUNS = 50;
const GRAPHS = 10;
/** Largest error that rounding to float16 explains, relative to 1 + the value. */
const MOST_ERROR = 2e-3;
/** Larger tensors are only timed, since the reference is slow. */
const MOST_CHECKED = 2e5;
const THREAD_LOCAL = 1;

interface Case {
  readonly operator: string;
  readonly inputs: readonly (readonly number[] | undefined)[];
  readonly attributes?: Readonly<Record<string, number>>;
  /** Whether the sum is an output. */
  readonly sum?: boolean;
}

const api = await OrtApi.load();
const { koffi } = api;
const runtime = CudaRuntime.load(koffi, 0);
const operators = kernelOperators(new CudaKernels(koffi, runtime).launch);
const out = koffi.out(koffi.pointer('void *'));
const [create, begin, end, instantiate, start, wait] = [
  functionOf('cudaStreamCreate', [out]),
  functionOf('cudaStreamBeginCapture', ['void *', 'int']),
  functionOf('cudaStreamEndCapture', ['void *', out]),
  functionOf('cudaGraphInstantiate', [out, 'void *', 'uint64_t']),
  functionOf('cudaGraphLaunch', ['void *', 'void *']),
  functionOf('cudaStreamSynchronize', ['void *']),
];
const stream = pointerFrom((result) => create(result));
let state = 1;

const rows = cases().map((one) => {
  const { error, seconds } = measure(one);
  const [x] = one.inputs;
  const { groups } = one.attributes ?? {};
  const more = ['', '', '', 'bias', 'addend', 'residual', 'rest'].filter((name, k) => name !== '' && one.inputs[k]);
  const what = one.operator === 'GroupNormalization' ? [`${groups} groups`, ...more, ...(one.sum ? ['sum'] : [])] : [];
  return [
    one.operator,
    (x ?? []).join('x'),
    what.join(', '),
    (seconds * 1e6).toFixed(1),
    error?.toExponential(1) ?? '',
  ];
});
if (rows.some((row) => Number(row.at(-1)) > MOST_ERROR)) process.exitCode = 1;
console.log(markdown([['operator', 'x', 'with', 'microseconds', 'largest error'], ...rows]));

function cases(): readonly Case[] {
  const norm = (
    n: number,
    pixels: number,
    first: number,
    groups: number,
    terms: string,
    rest = 0,
    sum = false,
  ): Case => {
    const channels = first + rest;
    const image = (width: number) => [n, pixels, 1, width];
    const has = (term: string, dims: readonly number[]) => (terms.includes(term) ? dims : undefined);
    return {
      operator: 'GroupNormalization',
      attributes: { groups, silu: 1, epsilon: 1e-5 },
      inputs: [
        image(first),
        [channels, 1, 1],
        [channels, 1, 1],
        has('b', [first]),
        has('a', [n, first, 1, 1]),
        has('r', image(first)),
        rest > 0 ? image(rest) : undefined,
      ],
      sum,
    };
  };
  return [
    ...[2, 24].flatMap((n) => [
      norm(n, 1024, 64, 16, 'ba'),
      norm(n, 1024, 64, 16, 'br', 0, true),
      norm(n, 1024, 64, 16, 'br', 128, true),
      norm(n, 256, 128, 16, 'ba'),
      norm(n, 64, 256, 16, 'br', 256, true),
      { operator: 'Sum', inputs: [[n, 1024, 64], [64], [n, 1024, 64]] },
      { operator: 'Geglu', inputs: [[n, 256, 1024], [1024]] },
    ]),
    norm(1, 9, 5, 5, ''),
    norm(24, 64, 64, 16, 'bar', 32, true),
    norm(1, 5000, 30, 3, 'br', 0, true),
    norm(2, 4096, 320, 32, 'ba'),
    norm(2, 4096, 320, 32, 'br', 640, true),
    norm(2, 256, 1280, 32, 'br', 1280, true),
    norm(1, 4096, 512, 32, 'br', 0, true),
    norm(1, 262144, 128, 32, 'b'),
  ];
}

function measure({ operator, inputs: dims, attributes = {}, sum = false }: Case): { error?: number; seconds: number } {
  const found = operators.find(({ name }) => name === operator);
  if (!found) throw new Error(`no operator ${operator}`);
  const number = (name: string) => attributes[name];
  const compute = found.prepare({ integer: number, real: number });
  const isChecked = sizeOf(dims[0] ?? []) <= MOST_CHECKED;
  const values = dims.map((one): Values | undefined => one && { dims: one, values: isChecked ? random(one) : [] });
  const buffers: Pointer[] = [];
  const reserve = (bytes: number) => {
    const address = runtime.allocate(bytes);
    buffers.push(address);
    return address;
  };
  const none: Tensor = { dims: [], address: 0n };
  const inputs = values.map((one): Tensor => {
    if (!one) return none;
    const address = reserve(2 * sizeOf(one.dims));
    if (!isChecked) return { dims: one.dims, address };
    const pinned = runtime.allocatePinned(2 * one.values.length);
    writeHalves(pinned.data, one.values);
    runtime.upload(address, pinned);
    runtime.freePinned(pinned);
    return { dims: one.dims, address };
  });
  const outputs = new Map<number, Tensor>();
  const output = (k: number, shape: readonly number[]): Tensor => {
    const known = k === 2 && !sum ? none : outputs.get(k);
    if (known) return known;
    const made = { dims: shape, address: reserve(4 * sizeOf(shape)) };
    outputs.set(k, made);
    return made;
  };
  compute(inputs, output, stream);
  wait(stream);
  const seconds = timeOf(() => compute(inputs, output, stream));
  const error = isChecked ? largestError() : undefined;
  for (const buffer of buffers) runtime.free(buffer);
  return { ...(error !== undefined && { error }), seconds };

  function largestError(): number {
    const expected = REFERENCE[operator](values, attributes);
    const all = [[outputs.get(0), expected.y] as const, [outputs.get(2), expected.sum] as const];
    return Math.max(
      ...all.map(([tensor, wanted]) => {
        if (!tensor || !wanted) return 0;
        const pinned = runtime.allocatePinned(2 * wanted.length);
        runtime.download(pinned, tensor.address);
        const found = readHalves(pinned.data);
        runtime.freePinned(pinned);
        return wanted.reduce((most, value, k) => Math.max(most, Math.abs(value - found[k]) / (1 + Math.abs(value))), 0);
      }),
    );
  }
}

/** Seconds of a call, of many in one CUDA graph. */
function timeOf(run: () => void): number {
  begin(stream, THREAD_LOCAL);
  for (let k = 0; k < RUNS; k++) run();
  const graph = pointerFrom((result) => end(stream, result));
  const executable = pointerFrom((result) => instantiate(result, graph, 0n));
  const times = Array.from({ length: GRAPHS }, () => {
    const from = performance.now();
    start(executable, stream);
    wait(stream);
    return (performance.now() - from) / 1000 / RUNS;
  });
  return Math.min(...times);
}

/** Values of float16 whose mean is not 0. */
function random(dims: readonly number[]): Float64Array {
  return Float64Array.from({ length: sizeOf(dims) }, () => {
    state = (state * 16807) % 2147483647;
    return f16round(0.5 + (state / 2147483647 - 0.5) * 4);
  });
}

function functionOf(
  name: string,
  parameters: Parameters<typeof runtime.library.func>[3],
): (...args: unknown[]) => void {
  const called = runtime.library.func(name, 'int', parameters) as (...args: unknown[]) => number;
  return (...args) => {
    const error = called(...args);
    if (error !== 0) throw new Error(`${name} failed with error ${error}`);
  };
}
