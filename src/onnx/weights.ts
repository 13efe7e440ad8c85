import { readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  type GraphProto,
  type ModelProto,
  type StringStringEntryProto,
  type TensorProto,
} from 'onnx-buf';
import { isMissing, messageOf } from '../errors.js';
import { lfsPointerIn, MAX_POINTER_BYTES } from '../files/lfsPointer.js';
import { sizeOf } from '../tensor/tensor.js';
import { innerGraphs } from './constants.js';
import { bytesOfType } from './elementTypes.js';

/** Where a file with weights is, and its size. */
export interface WeightFile {
  /** As the graph names it. */
  readonly name: string;
  /** Real path. */
  readonly path: string;
  readonly bytes: number;
}

/** Names of the files that hold weights of a model, as the graph gives them. */
export function weightNames(model: ModelProto): string[] {
  return [...new Set(externalTensors(model).map((tensor) => entryOf(tensor, 'location') ?? ''))];
}

/**
 * Finds the files that hold weights of a model. Names are relative to the folder of its file; where that is a link, the files may
 * also be beside its target.
 * @param path of the model's file
 * @throws Error if a file is outside the model's folder, is missing or is too short
 */
export async function weightFiles(model: ModelProto, path: string): Promise<WeightFile[]> {
  const files = new Map<string, WeightFile>();
  for (const name of weightNames(model)) files.set(name, await locate(name, path));
  for (const tensor of externalTensors(model)) {
    const file = files.get(entryOf(tensor, 'location') ?? '');
    const end = Number(entryOf(tensor, 'offset') ?? 0) + lengthOf(tensor);
    if (!file || end <= file.bytes) continue;
    const pointer = file.bytes <= MAX_POINTER_BYTES ? lfsPointerIn(await readFile(file.path, 'latin1')) : undefined;
    throw new Error(
      pointer
        ? `${pointer} of the weights file ${file.name}`
        : `the weights file ${file.name} has ${file.bytes} bytes, and the graph needs ${end}`,
    );
  }
  return [...files.values()];
}

/**
 * Makes the names of files with weights relative to one folder that holds them all, since a session accepts only one.
 * @returns that folder; the model's own without such files
 */
export function relocateWeights(model: ModelProto, files: readonly WeightFile[], path: string): string {
  if (files.length === 0) return dirname(path);
  const root = files.map((file) => dirname(file.path)).reduce(commonFolder);
  const names = new Map(files.map((file) => [file.name, relative(root, file.path).split(sep).join('/')]));
  renameWeights(model, (name) => names.get(name) ?? name);
  return root;
}

/** Changes the names of the files that hold weights of a model. */
export function renameWeights(model: ModelProto, renamed: (name: string) => string): void {
  for (const tensor of externalTensors(model)) {
    const entry = tensor.externalData.find(({ key }) => key === 'location');
    if (entry) entry.value = renamed(entry.value);
  }
}

/** The entries of a reference to weights in a file. */
export function externalData(entries: {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}): StringStringEntryProto[] {
  return Object.entries(entries).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value: String(value) }),
  );
}

async function locate(name: string, path: string): Promise<WeightFile> {
  if (name === '' || isAbsolute(name) || name.split(/[/\\]/).includes('..'))
    throw new Error(`the weights file ${name} is outside its folder`);
  const beside = [dirname(path), dirname(await realpath(path))];
  for (const folder of beside) {
    const real = await realpath(join(folder, name)).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw new Error(`the weights file ${name}, ${messageOf(error)}`, { cause: error });
    });
    const stats = real === undefined ? undefined : await stat(real);
    if (real !== undefined && stats?.isFile()) return { name, path: real, bytes: stats.size };
  }
  throw new Error(`the weights file ${name} is missing`);
}

function commonFolder(a: string, b: string): string {
  let folder = a;
  while (folder !== b && !b.startsWith(folder.endsWith(sep) ? folder : folder + sep)) folder = dirname(folder);
  return folder;
}

function externalTensors({ graph }: ModelProto): TensorProto[] {
  return graph ? tensorsOf(graph).filter(({ dataLocation }) => dataLocation === TensorProto_DataLocation.EXTERNAL) : [];
}

/** All tensors of a graph, those in attributes and subgraphs included. */
function tensorsOf({ initializer, node }: GraphProto): TensorProto[] {
  const given = node.flatMap(({ attribute }) => attribute.flatMap(({ t, tensors }) => (t ? [t, ...tensors] : tensors)));
  return [...initializer, ...given, ...node.flatMap(innerGraphs).flatMap(tensorsOf)];
}

function entryOf({ externalData: entries }: TensorProto, wanted: string): string | undefined {
  return entries.find(({ key }) => key === wanted)?.value;
}

/** Bytes of a tensor in its file. */
function lengthOf(tensor: TensorProto): number {
  const given = entryOf(tensor, 'length');
  return given === undefined ? sizeOf(tensor.dims.map(Number)) * bytesOfType(tensor.dataType) : Number(given);
}
