import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './fixtures.js';
import { startTriton, type TritonServer } from './tritonServer.js';

/** A denoising network in Triton, whose python backend runs an ONNX file. */
export interface TritonModel {
  /** Path of the ONNX file; undefined: an analytic stand-in. */
  readonly onnx?: string;
  /** Milliseconds that each execution waits first. */
  readonly delayMs?: number;
  /** Shapes of the sample and the text, without the batch axis. */
  readonly sample: readonly number[];
  readonly text: readonly number[];
  /** Further lines of config.pbtxt. */
  readonly config?: string;
}

/** Starts Triton with one model, `unet`. @returns the name of its device, and a function that ends it */
export async function startUnet(
  model: TritonModel,
): Promise<{ readonly device: string; readonly stop: TritonServer['stop'] }> {
  const repository = mkdtempSync(join(tmpdir(), 'srds-models-'));
  const remove = () => rmSync(repository, { recursive: true, force: true });
  try {
    writeModel(join(repository, 'unet'), model);
    const server = await startTriton(repository);
    return { device: `oip+${server.url}/unet`, stop: (signal) => server.stop(signal).finally(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}

function writeModel(folder: string, { onnx = '', delayMs = 0, sample, text, config = '' }: TritonModel): void {
  mkdirSync(join(folder, '1'), { recursive: true });
  cpSync(join(ROOT, 'test/support/triton_model.py'), join(folder, '1/model.py'));
  const parameter = (key: string, value: string) => `parameters { key: "${key}" value: { string_value: "${value}" } }`;
  writeFileSync(
    join(folder, 'config.pbtxt'),
    `name: "unet"
backend: "python"
max_batch_size: 16
input [
  { name: "sample" data_type: TYPE_FP32 dims: [${sample.join(', ')}] },
  { name: "timestep" data_type: TYPE_FP32 dims: [1] },
  { name: "encoder_hidden_states" data_type: TYPE_FP32 dims: [${text.join(', ')}] }
]
output [ { name: "out_sample" data_type: TYPE_FP32 dims: [${sample.join(', ')}] } ]
${parameter('onnx', onnx)}
${parameter('delay_ms', String(delayMs))}
${config}
`,
  );
}
