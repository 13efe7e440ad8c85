import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { SrdsError, wholeNumber } from '../errors.js';
import type { ModelFolder } from '../model/modelFolder.js';
import type { Precision } from '../onnx/graphInfo.js';
import { bytes } from '../pipeline/bytes.js';
import { DEVICE_OPTIONS } from '../pipeline/options/devices.js';
import { exportModel } from '../triton/exportModel.js';
import { BACKENDS, type Backend } from '../triton/modelConfig.js';
import { addModel, type RepositoryModel } from '../triton/modelRepository.js';
import { findModel } from './model.js';
import { addFlags } from './optionFlags.js';
import { Progress } from './progress.js';
import { list } from './values.js';

interface Flags {
  readonly backend: Backend;
  readonly precision?: Precision | 'auto';
  readonly batches: readonly number[];
  readonly name?: string;
  readonly force?: boolean;
}

const MAX_BATCH = 4096;

/** `srds export-triton`. @param signal aborts a download and copying */
export function exportTritonCommand(signal: AbortSignal): Command {
  const command = new Command('export-triton')
    .description("write a model's denoising network into a model repository of Triton Inference Server")
    .argument('<model>', 'folder, or owner/name[@revision] on the Hugging Face hub')
    .argument('<repository>', 'folder of the model repository; it is made if necessary')
    .addOption(
      new Option('--backend <name>', 'onnxruntime, or python: CUDA graphs for each size of batches')
        .choices(BACKENDS)
        .default('onnxruntime'),
    )
    .option(
      '--batches <rows>',
      'sizes of batches to be ready for; the last is the largest',
      list('--batches'),
      [1, 2, 4, 8, 16, 32],
    )
    .option('--name <name>', 'name of the model on the server (default: unet or transformer)')
    .option('--force', 'write into a folder that is not empty, and replace a model of that name there');
  return addFlags(command, { precision: DEVICE_OPTIONS.precision }).action(
    async (source: string, repository: string, flags: Flags) => {
      const { backend, precision = 'auto', name, force = false } = flags;
      const batches = ascending(flags.batches);
      if (name !== undefined) checkName(name);
      const progress = process.stderr.isTTY ? new Progress(process.stderr, 1) : undefined;
      try {
        const model = await findModel(source, { progress, verbose: true, signal });
        const exported = await exportModel(model, { name, backend, precision, batches });
        progress?.setState('copying the weights');
        await addModel(repository, exported, { force, signal });
        progress?.end();
        process.stdout.write(await text(model, exported, repository));
      } finally {
        progress?.end();
      }
    },
  );
}

function ascending(batches: readonly number[]): readonly number[] {
  for (const rows of batches) wholeNumber('a size of batches', rows, 1, MAX_BATCH);
  return [...new Set(batches)].toSorted((a, b) => a - b);
}

/** @throws SrdsError INVALID_OPTION unless a name can be a folder and a part of an address */
function checkName(name: string): void {
  if (/^[A-Za-z0-9][\w.-]*$/.test(name)) return;
  const expected = 'letters, digits, dots, hyphens and underscores for --name';
  throw new SrdsError('INVALID_OPTION', expected, `"${name}"`, 'choose such a name');
}

async function text(model: ModelFolder, { name, copied }: RepositoryModel, repository: string): Promise<string> {
  const sizes = await Promise.all([...copied.values()].map(async (path) => (await stat(path)).size));
  const weights = bytes(sizes.reduce((sum, size) => sum + size, 0));
  return [
    `${join(repository, name)}: the network of ${model.name}, ${weights} of weights`,
    `serve it:  tritonserver --model-repository=${repository}`,
    `use it:    srds generate "a prompt" --model ${model.path} --device oip+http://127.0.0.1:8000/${name}`,
    '',
  ].join('\n');
}
