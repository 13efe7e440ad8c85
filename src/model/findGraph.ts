import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { requireFile } from './files.js';

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

/** Whether a model folder has a graph in a subfolder. */
export async function hasGraph(folder: string, graph: string): Promise<boolean> {
  return findGraph(folder, graph).then(
    () => true,
    () => false,
  );
}
