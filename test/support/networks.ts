import assert from 'node:assert/strict';
import { DeviceEngine, type Evaluation, type GraphFile, type OutputRow } from 'srds/engine';
import { readModelFolder } from 'srds/model';
import { float32 } from 'srds/tensor';
import { exampleInputs } from '../../src/model/exampleInputs.js';
import { graphFiles } from '../../src/model/modelFolder.js';

/** The rows of evaluations, one after the other or as one batch. */
export async function evaluate(file: GraphFile, evaluations: readonly Evaluation['inputs'][], together: boolean) {
  const engine = await DeviceEngine.open({ network: file });
  try {
    const [{ name: output }] = engine.graphs.get('network')!.outputs;
    const all = evaluations.map((inputs) => ({ graph: 'network', output, inputs }));
    const batches = together ? [all] : all.map((one) => [one]);
    const rows: OutputRow[] = [];
    for (const batch of batches) rows.push(...(await engine.run(batch)).outputs.flat());
    return rows;
  } finally {
    await engine.close();
  }
}

/** The model's own graph, evaluations of it at different timesteps, and their rows one by one. */
export async function originalOf(folder: string) {
  const model = await readModelFolder(folder);
  const { family, size } = model;
  const file = graphFiles(model)[family.network];
  const { inputs } = model.described.find(({ name }) => name === family.network)!.description;
  const named = inputs.map((input) => (family.constants?.includes(input.name) ? { ...input, constant: true } : input));
  const example = exampleInputs(model, size, named);
  assert.ok(example);
  const evaluations = [981, 500, 500, 1].map((t) => ({
    ...example,
    timestep: float32(Float32Array.of(family.networkTime(t)), []),
  }));
  return { model, file, evaluations, rows: await evaluate(file, evaluations, false) };
}
