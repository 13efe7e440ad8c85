import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { isEndpoint } from '../engine/device.js';
import { endpointName, type Endpoint } from '../engine/remote/endpoint.js';
import { SrdsError, wholeNumber } from '../errors.js';
import type { ModelFolder } from '../model/modelFolder.js';
import { bytes } from '../pipeline/bytes.js';
import { DEVICE_OPTIONS } from '../pipeline/options/devices.js';
import type { Options, OptionValues } from '../pipeline/options/option.js';
import { compareEndpoint, type Comparison } from '../triton/compareEndpoint.js';
import { exportModel } from '../triton/exportModel.js';
import { BACKENDS, type Backend } from '../triton/modelConfig.js';
import { addModel, type RepositoryModel } from '../triton/modelRepository.js';
import { findModel } from './model.js';
import { splitDeviceFlags } from './devices.js';
import { addFlags } from './optionFlags.js';
import { Progress, warn } from './progress.js';
import { list } from './values.js';

/** Options of devices that matter to an export and to reaching a server. */
const OPTIONS = {
  precision: DEVICE_OPTIONS.precision,
  endpointToken: DEVICE_OPTIONS.endpointToken,
  endpointHeaders: DEVICE_OPTIONS.endpointHeaders,
  endpointCa: DEVICE_OPTIONS.endpointCa,
} satisfies Options;

interface Flags extends OptionValues<typeof OPTIONS> {
  readonly backend: Backend;
  readonly batches: readonly number[];
  readonly name?: string;
  readonly force?: boolean;
  readonly check?: string;
}

const MAX_BATCH = 4096;

const MAY_BE_STALE =
  'loads models by itself only, so it may still run what was in its repository before; start it again, or run it with --model-control-mode=explicit';

/** `srds export-triton`. @param signal aborts a download, copying and a comparison */
export function exportTritonCommand(signal: AbortSignal): Command {
  const command = new Command('export-triton')
    .description("write a model's denoising network into a model repository of Triton Inference Server")
    .argument('<model>', 'folder, or owner/name[@revision] on the Hugging Face hub')
    .argument('[repository]', 'folder of the model repository, which is made if necessary; not needed with --check')
    .optionsGroup('What to write:')
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
    .option('--force', 'write into a folder that is not empty, and replace a model of that name there')
    .option(
      '--check <endpoint>',
      'compare the network of a server with that of the model, after loading it: oip+http://host:8000/unet',
    );
  return addFlags(command, OPTIONS).action(async (source: string, repository: string | undefined, flags: Flags) => {
    const { check, name } = flags;
    if (repository === undefined && check === undefined) {
      const remedy = 'name the folder of a model repository';
      throw new SrdsError('INVALID_OPTION', 'a repository, or an endpoint to --check', 'neither', remedy);
    }
    const batches = ascending(flags.batches);
    if (name !== undefined) checkName(name);
    const endpoints = check === undefined ? undefined : await endpointsOf(check, flags);
    const progress = process.stderr.isTTY ? new Progress(process.stderr, 1) : undefined;
    const lines: string[] = [];
    try {
      const model = await findModel(source, { progress, verbose: true, signal });
      if (repository !== undefined) {
        const { backend, precision = 'auto', force = false } = flags;
        const exported = await exportModel(model, { name, backend, precision, batches });
        progress?.setState('copying the weights');
        await addModel(repository, exported, { force, signal });
        lines.push(...(await written(model, exported, repository)));
      }
      for (const endpoint of endpoints?.list ?? []) {
        progress?.setState('comparing the network with that of the server');
        const options = { ...endpoints?.options, reload: repository !== undefined };
        const comparison = await compareEndpoint(model, endpoint, options, signal);
        if (comparison.mayBeStale) warn(`${endpointName(endpoint)} ${MAY_BE_STALE}`, progress);
        lines.push(compared(endpoint, comparison));
      }
    } finally {
      progress?.end();
      // What is done is done, also if a comparison fails.
      process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    }
  });
}

/** The endpoints to compare with, and how to reach them. */
async function endpointsOf(check: string, { endpointHeaders, endpointCa }: Flags) {
  const { open } = await splitDeviceFlags({ device: check, endpointHeaders, endpointCa });
  const devices = open.devices === 'auto' ? [] : (open.devices ?? []);
  const endpoints = devices.filter(isEndpoint);
  if (endpoints.length > 0 && endpoints.length === devices.length) return { list: endpoints, options: open.endpoints };
  const remedy = 'srds doctor tests other devices';
  throw new SrdsError(
    'INVALID_OPTION',
    'endpoints such as oip+http://host:8000/unet for --check',
    `"${check}"`,
    remedy,
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

async function written(
  model: ModelFolder,
  { name, copied }: RepositoryModel,
  repository: string,
): Promise<readonly string[]> {
  const sizes = await Promise.all([...copied.values()].map(async (path) => (await stat(path)).size));
  const weights = bytes(sizes.reduce((sum, size) => sum + size, 0));
  return [
    `${join(repository, name)}: the network of ${model.name}, ${weights} of weights`,
    `serve it:  tritonserver --model-repository=${repository}`,
    `use it:    srds generate "a prompt" --model ${model.path} --device oip+http://127.0.0.1:8000/${name}`,
  ];
}

function compared(endpoint: Endpoint, { alone, batch, rows }: Comparison): string {
  const differences = `rows differ by ${alone.toExponential(1)} of the largest value alone, ${batch.toExponential(1)} in batches of ${rows}`;
  return `${endpointName(endpoint)}: the same network; ${differences}`;
}
