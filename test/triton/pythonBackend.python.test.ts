import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { OipClient, parseEndpoint, type Evaluation } from 'srds/engine';
import type { Tensor } from 'srds/tensor';
import { fixture, relativeError } from '../support/fixtures.js';
import { outputOf } from '../support/program.js';
import { startTriton } from '../support/tritonServer.js';
import { originalOf } from '../support/networks.js';

const repository = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(repository, { recursive: true }));

const NAMES = ['sd15', 'flux-dev'];

/** The rows of evaluations, which one request has as a batch. */
async function infer(client: OipClient, evaluations: readonly Evaluation['inputs'][]): Promise<Float32Array[]> {
  const { inputs, outputs } = await client.metadata();
  const tensors = inputs.map(({ name, datatype }) => {
    const rows: Tensor[] = evaluations.map((one) => one[name]);
    const [{ dims }] = rows;
    const pieces = rows.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return { name, datatype, shape: [rows.length, ...(dims.length === 0 ? [1] : dims)], pieces };
  });
  const answer = await client.infer({ inputs: tensors, outputs: [outputs[0].name] }, { timeoutMs: 60_000 });
  const { bytes, shape } = answer.get(outputs[0].name)!;
  const values = new Float32Array(Uint8Array.from(bytes).buffer);
  const size = values.length / shape[0];
  return evaluations.map((_, k) => values.subarray(k * size, (k + 1) * size));
}

test('Triton loads the python backend, warms it up, and its rows are those of the local engine, alone and in batches', async () => {
  for (const name of NAMES) {
    const flags = ['--backend', 'python', '--name', name, '--force', '--batches', '1,2,4'];
    await outputOf({}, 'export-triton', fixture(`models/${name}`), repository, ...flags);
  }
  const server = await startTriton(repository);
  try {
    for (const name of NAMES) {
      const { evaluations, rows } = await originalOf(fixture(`models/${name}`));
      const client = new OipClient(parseEndpoint(`oip+${server.url}/${name}`));
      const alone: Float32Array[] = [];
      for (const evaluation of evaluations) alone.push(...(await infer(client, [evaluation])));
      const together = await infer(client, evaluations);
      // Requests that come together are put together, and each gets its own rows.
      const merged = (await Promise.all(evaluations.map((evaluation) => infer(client, [evaluation])))).flat();
      for (const found of [alone, together, merged]) {
        found.forEach((row, k) => assert.ok(relativeError(row, rows[k]) < 1e-5, `${name}, row ${k}`));
      }
      client.close();
    }
  } finally {
    await server.stop();
  }
});
