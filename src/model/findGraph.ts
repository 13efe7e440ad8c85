import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fileExists, readJson, requireFile } from './files.js';
import type { DenoiserName } from './graphNames.js';

/** Names of a graph's file, the preferred first. */
const NAMES = ['model.onnx', 'model_fp32.onnx', 'model_fp16.onnx', 'model_bf16.onnx'];

/**
 * The path of a graph in a subfolder of a model folder: model.onnx, that of one precision if there is no other, or the only graph.
 * @throws SrdsError MODEL_NOT_FOUND if there is none, MODEL_INVALID if it is empty or no file
 */
export async function findGraph(folder: string, graph: string): Promise<string> {
  const entries = await readdir(join(folder, graph)).catch(() => []);
  const graphs = entries.filter((name) => name.endsWith('.onnx'));
  const usual = NAMES.find((name) => graphs.includes(name)) ?? (graphs.length === 1 ? graphs[0] : NAMES[0]);
  return requireFile(folder, `${graph}/${usual}`);
}

/** Whether a model folder has a graph in one of these subfolders. */
export async function hasGraph(folder: string, ...graphs: readonly string[]): Promise<boolean> {
  const found = await Promise.allSettled(graphs.map((graph) => findGraph(folder, graph)));
  return found.some(({ status }) => status === 'fulfilled');
}

const anyConfig = z.looseObject({ _class_name: z.string().nullish() });

/** The subfolder of a denoising network: its own name, or `unet` for a transformer that some exports put there. */
export async function networkFolder(folder: string, network: DenoiserName): Promise<string> {
  if (network === 'unet' || (await fileExists(folder, `${network}/config.json`))) return network;
  if (!(await fileExists(folder, 'unet/config.json'))) return network;
  const { _class_name: name } = await readJson(folder, 'unet/config.json', anyConfig);
  return name?.includes('Transformer') ? 'unet' : network;
}
