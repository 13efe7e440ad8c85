import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { StringStringEntryProtoSchema, TensorProto_DataLocation, type ModelProto, type TensorProto } from 'onnx-buf';

/** Smaller tensors stay in the graph: among them are the shapes that ONNX Runtime needs before it runs. */
const INLINE_BYTES = 1024;

/** Names of the external files that hold weights of a model. */
export function weightFiles({ graph }: ModelProto): string[] {
  const names = (graph?.initializer ?? []).flatMap((tensor) => locationOf(tensor) ?? []);
  return [...new Set(names)];
}

/**
 * Replaces the weights in a model by references to the files that hold them: the model's own, or external ones.
 * @param bytes content of the model's file, which the weights are views of
 * @param path of the model's file
 * @returns the folder of all these files; undefined if there are several, since a session accepts only one
 * @throws Error if a file is outside the model's folder or is missing
 */
export async function externalizeWeights(
  model: ModelProto,
  bytes: Uint8Array,
  path: string,
): Promise<string | undefined> {
  const files = new Map<string, string>();
  const locate = async (name: string): Promise<string> => {
    if (isAbsolute(name) || name.split(/[/\\]/).includes('..'))
      throw new Error(`the weights file ${name} is outside its folder`);
    const known = files.get(name) ?? (await realpath(join(dirname(path), name)).catch(() => missingWeights(name)));
    files.set(name, known);
    return known;
  };
  for (const tensor of model.graph?.initializer ?? []) {
    const outside = locationOf(tensor);
    if (outside !== undefined) {
      const entry = tensor.externalData.find(({ key }) => key === 'location');
      if (entry) entry.value = basename(await locate(outside));
    } else if (tensor.rawData.byteLength > INLINE_BYTES) {
      const { byteOffset, byteLength } = tensor.rawData;
      tensor.externalData = Object.entries({
        location: basename(await locate(basename(path))),
        offset: byteOffset - bytes.byteOffset,
        length: byteLength,
      }).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value: String(value) }));
      tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
      tensor.rawData = new Uint8Array(0);
    }
  }
  const folders = new Set([...files.values()].map(dirname));
  return folders.size > 1 ? undefined : ([...folders][0] ?? dirname(path));
}

/** @throws Error that names the missing file */
export function missingWeights(name: string): never {
  throw new Error(`the weights file ${name} is missing`);
}

function locationOf(tensor: TensorProto): string | undefined {
  if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) return undefined;
  return tensor.externalData.find(({ key }) => key === 'location')?.value;
}
