// Runs a batch that only a lane far too large for the memory holds, and prints what became of it.
import { LocalEngine, type Evaluation } from 'srds/engine';
import { float32 } from 'srds/tensor';
import { fixture } from './fixtures.js';

const warnings: string[] = [];
const engine = await LocalEngine.open(
  { unet: { path: fixture('models/sd21v/unet/model.onnx'), perRow: 'timestep' } },
  { lanes: [2, 16, 4096], threads: 1, onWarning: (message) => warnings.push(message) },
);
const conditioning = [engine.register({ encoder_hidden_states: float32(new Float32Array(77 * 32), [77, 32]) })];
const inputs = {
  sample: float32(new Float32Array(4096).fill(0.5), [4, 32, 32]),
  timestep: float32(Float32Array.of(500), []),
};
const batch = Array.from({ length: 20 }, (): Evaluation => ({
  graph: 'unet',
  output: 'out_sample',
  inputs,
  conditioning,
}));
const { rows, outputs } = await engine.run(batch);
const same = outputs.every(([row]) => row.every((value, k) => value === outputs[0][0][k] && Number.isFinite(value)));
console.log(JSON.stringify({ rows, same, lanes: engine.lanes, warnings }));
await engine.close();
