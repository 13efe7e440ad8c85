import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fileExists, readJson, requireFile } from './files.js';
import type { DenoiserName } from './graphNames.js';

/** Names of a graph's file, the preferred first. */
const NAMES = ['model.onnx', 'model_fp32.onnx', 'model_fp16.onnx', 'model_bf16.onnx'];

/**
 * The name of a graph's file: model.onnx, that of one precision if there is no other, or the only graph.
 * @param names of the files in its subfolder
 * @returns undefined if there is none
 */
export function graphFileAmong(names: readonly string[]): string | undefined {
  const graphs = names.filter((name) => name.endsWith('.onnx'));
  return NAMES.find((name) => graphs.includes(name)) ?? (graphs.length === 1 ? graphs[0] : undefined);
}

/**
 * The path of a graph in a subfolder of a model folder.
 * @throws SrdsError MODEL_INVALID if there is none, or it is empty or no file
 */
export async function findGraph(folder: string, graph: string): Promise<string> {
  const names = await readdir(join(folder, graph)).catch(() => []);
  return requireFile(folder, `${graph}/${graphFileAmong(names) ?? NAMES[0]}`);
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
