import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SrdsError } from '../errors.js';
import { INDEX_FILE } from './family.js';
import { fileExists } from './files.js';

const EXPECTED = 'a diffusers folder of ONNX graphs';
const EXPORT = 'export it: optimum-cli export onnx --model';

/** What a folder without ONNX graphs is, by the names of its files. The first that fits is named. */
const FORMATS: readonly {
  readonly pattern: RegExp;
  readonly found: string;
  readonly remedy: (folder: string) => string;
}[] = [
  {
    pattern: /\.gguf$/,
    found: 'GGUF weights',
    remedy: () => `these have no graph; take the original model and ${EXPORT} MODEL FOLDER`,
  },
  {
    pattern: /(^|\/)openvino_[^/]*\.xml$/,
    found: 'OpenVINO graphs',
    remedy: () => `take the original model and ${EXPORT} MODEL FOLDER`,
  },
  {
    pattern: /\.(plan|trt|engine)$|(^|\/)[^/]+\.opt\//,
    found: 'graphs for TensorRT, which other runtimes cannot read',
    remedy: () => `take the original model and ${EXPORT} MODEL FOLDER`,
  },
  {
    pattern:
      /(^|\/)(pytorch_lora_weights|adapter_model)\.(safetensors|bin)$|(^|\/)adapter_config\.json$|^[^/]*lora[^/]*\.safetensors$/i,
    found: 'a LoRA, which changes another model',
    remedy: () => `merge it into its model with diffusers (fuse_lora, save_pretrained), then ${EXPORT} MERGED FOLDER`,
  },
  {
    pattern: /(^|\/)(unet|transformer|prior)\/[^/]*\.(safetensors|bin|msgpack)$/,
    found: 'PyTorch weights without ONNX graphs',
    remedy: (folder) => `${EXPORT} ${folder} FOLDER, then --model FOLDER`,
  },
  {
    pattern: /^[^/]+\.(safetensors|ckpt|pth?)$/,
    found: 'a checkpoint in a single file',
    remedy: () =>
      `convert it with diffusers (from_single_file, save_pretrained CONVERTED), then ${EXPORT} CONVERTED FOLDER`,
  },
];

/**
 * Explains why a folder cannot be used that lacks model_index.json or the graph of its network.
 * @returns undefined if its files say nothing
 */
export async function otherFormat(folder: string): Promise<SrdsError | undefined> {
  const names = await namesBelow(folder);
  const controlNet = names.includes('config.json') && /controlnet|control_net/i.test(basename(resolve(folder)));
  if (
    controlNet ||
    names.some((name) => /^(conditioning|control_model|controlnet)/i.test(name) && name.endsWith('.onnx'))
  )
    return refused('a control net, which goes with another model', 'use the folder of a text-to-image model');
  if (!names.includes(INDEX_FILE)) {
    const elsewhere = await modelFolderNear(folder, names);
    if (elsewhere !== undefined) {
      const found = 'no model_index.json in it';
      return new SrdsError('MODEL_NOT_FOUND', `${EXPECTED} in ${folder}`, found, `try --model ${elsewhere}`);
    }
  }
  const format = FORMATS.find(({ pattern }) => names.some((name) => pattern.test(name)));
  return format && refused(`${format.found} in ${folder}`, format.remedy(folder));
}

/** The error for a path of a file where a folder is expected. */
export function noFolder(path: string): SrdsError {
  const format = FORMATS.find(({ pattern }) => pattern.test(basename(path)));
  if (format) return refused(`${format.found}, ${path}`, format.remedy(path));
  const remedy = 'give --model the path of a diffusers folder of ONNX graphs, or owner/name on the Hugging Face hub';
  return new SrdsError('MODEL_NOT_FOUND', 'a model folder', `a file at ${path}`, remedy);
}

function refused(found: string, remedy: string): SrdsError {
  return new SrdsError('MODEL_INVALID', EXPECTED, found, remedy);
}

/** The folder above or one below that has a model_index.json. */
async function modelFolderNear(folder: string, names: readonly string[]): Promise<string | undefined> {
  const below = names.find((name) => /^[^/]+\/model_index\.json$/.test(name));
  if (below !== undefined) return join(folder, dirname(below));
  const above = dirname(resolve(folder));
  return (await fileExists(above, 'model_index.json')) ? above : undefined;
}

/** Names of the files in a folder and its subfolders, with slashes. */
async function namesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const names = await Promise.all(
    entries.map(async (entry) => {
      // A link may lead to a folder.
      const inner = entry.isFile() ? [] : await readdir(join(folder, entry.name)).catch(() => []);
      return [entry.name, ...inner.map((name) => `${entry.name}/${name}`)];
    }),
  );
  return names.flat();
}
