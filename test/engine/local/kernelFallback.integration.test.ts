// Sessions of a graph with kernels of this package, on the CPU: what happens where these are wrong or fail, for some batches or for all.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Evaluation, OutputRow } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32 } from 'srds/tensor';
import { CustomOperators, type CustomOperator } from '../../../src/engine/cuda/kernels/customOperators.js';
import { OrtApi } from '../../../src/engine/cuda/ortApi.js';
import { BucketPool } from '../../../src/engine/local/bucketPool.js';
import { CApiSessions } from '../../../src/engine/local/cApiSessions.js';
import { GraphSessions } from '../../../src/engine/local/graphSessions.js';
import type { Slower } from '../../../src/engine/local/protocol.js';
import { SharedChannel } from '../../../src/engine/local/sharedChannel.js';
import { readOutputs, writeBatch } from '../../../src/engine/local/wireBatch.js';
import { KERNEL_DOMAIN } from '../../../src/onnx/fuse/kernels/domain.js';
import { fixture } from '../../support/fixtures.js';
import { referenceOperators } from '../../support/kernelReference.js';
import { prepareHalf } from '../../support/kernelSession.js';
import { observed } from '../../support/observedApi.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const random = new Generator(3);
const TEXTS = new Map(
  ['a', 'b'].map((id) => [id, { encoder_hidden_states: float32(random.randn(77 * 32), [77, 32]) }]),
);
const UNET = { path: fixture('models/sd15/unet/model.onnx'), perRow: 'timestep', replayed: true };

function evaluation(k: number, side = 8): Evaluation {
  const sample = float32(random.randn(4 * side * side), [4, side, side]);
  const inputs = { sample, timestep: float32(Float32Array.of(999 - 100 * k), []) };
  return { graph: 'unet', output: 'out_sample', inputs, conditioning: ['a', 'b'] };
}
const ONE = [evaluation(0)];
const TWO = [evaluation(1), evaluation(2)];

type Compute = ReturnType<CustomOperator['prepare']>;

/** What a graph's sessions answer to each batch, and how many sessions were opened by then. */
async function answers(
  batches: readonly (readonly Evaluation[])[],
  change?: (compute: Compute) => Compute,
): Promise<{ rows: OutputRow[]; slower: Slower | undefined; error: string; opened: number }[]> {
  // Nothing is remembered of other sessions.
  process.env.XDG_CACHE_HOME = mkdtempSync(join(scratch, 'cache-'));
  let opened = 0;
  const api = observed(await OrtApi.load(), (name) => {
    if (name === 'CreateSessionFromArray') opened++;
  });
  const operators = referenceOperators(api.koffi).map((operator) => {
    if (!change || operator.name !== 'GroupNormalization') return operator;
    return {
      ...operator,
      prepare: (attributes: Parameters<typeof operator.prepare>[0]) => change(operator.prepare(attributes)),
    };
  });
  const kernels = { operators: () => new CustomOperators(api, KERNEL_DOMAIN, undefined, operators) };
  const channel = SharedChannel.create();
  const device = { kind: 'cpu', index: 0 } as const;
  const settings = { device, threads: 1, buckets: [2, 4], fused: true, cApi: true, channel: channel.path };
  const prepared = await prepareHalf(UNET);
  const cApi = await CApiSessions.for(api, prepared, settings, kernels);
  const graph = new GraphSessions(prepared, settings, UNET, new BucketPool(), undefined, false, cApi);
  const found = [];
  try {
    for (const batch of batches) {
      const { wire } = writeBatch(batch, channel);
      try {
        const { slower, ...output } = await graph.run(wire, TEXTS, channel);
        found.push({ rows: readOutputs(batch, output, channel).flat(), slower, error: '', opened });
      } catch (error) {
        found.push({ rows: [], slower: undefined, error: String(error), opened });
      }
    }
    return found;
  } finally {
    await graph.close();
    channel.remove();
    channel.close();
  }
}

/** Lets a kernel leave its output as it is where a condition holds. */
const idle =
  (condition: (rows: number) => boolean) =>
  (compute: Compute): Compute =>
  (inputs, output, stream) => {
    const [{ dims }, scale] = inputs;
    if (!condition(dims[0])) return compute(inputs, output, stream);
    const whole = dims.with(-1, scale.dims[0]);
    for (const [k, shape] of [whole, [1], whole].entries()) output(k, shape);
  };

/** With kernels that all fail, so that the answers are those of ONNX Runtime's. */
const withoutKernels = await answers([ONE, TWO], () => () => {
  throw new Error('the GPU is on fire');
});

test('where all kernels fail, those of ONNX Runtime take their place, for this batch and the next', async () => {
  for (const { slower } of withoutKernels) {
    assert.deepEqual(slower, { without: 'fused kernels', why: withoutKernels[0].slower!.why });
    assert.match(slower.why, /on fire/);
  }
  const right = await answers([ONE, TWO]);
  assert.equal(right[1].slower, undefined);
  right.forEach(({ rows }, k) => {
    rows.forEach((row, r) => {
      row.forEach((value, i) => assert.ok(Math.abs(value - withoutKernels[k].rows[r][i]) < 0.02));
    });
  });
});

test('kernels that are wrong for batches of another size than the first are found', async () => {
  const [first, second] = await answers(
    [ONE, TWO],
    idle((rows) => rows === 4),
  );
  assert.equal(first.slower, undefined);
  assert.equal(second.slower!.without, 'fused kernels');
  assert.match(second.slower!.why, /differs/);
  assert.deepEqual(second.rows, withoutKernels[1].rows);
});

test('kernels that are wrong for the last rows of a batch are found', async () => {
  const swapped = (compute: Compute): Compute => {
    return (inputs, output, stream) => {
      const [x] = inputs;
      if (x.dims[0] < 4) return compute(inputs, output, stream);
      // All rows but the last two.
      const fewer = inputs.map((one) =>
        one.dims.length === 4 && one.dims[0] === x.dims[0] ? { ...one, dims: one.dims.with(0, x.dims[0] - 2) } : one,
      );
      compute(fewer, (k, dims) => output(k, dims.length === 4 ? dims.with(0, x.dims[0]) : dims), stream);
    };
  };
  const [, second] = await answers([ONE, TWO], swapped);
  assert.match(second.slower!.why, /differs/);
  assert.deepEqual(second.rows, withoutKernels[1].rows);
});

test('a batch that no session can run is an error, and the others keep their sessions', async () => {
  const odd = [evaluation(0, 7)];
  const [first, , failed, , last] = await answers([ONE, TWO, odd, ONE, TWO]);
  assert.match(failed.error, /Non-zero status code|dimension/);
  assert.equal(last.slower, undefined);
  // One for the odd size, over the C API.
  assert.equal(last.opened, first.opened + 2);
});
