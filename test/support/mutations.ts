import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from 'onnx-buf';
import { changeModel, fixAxis, renameInputs, renameOutput, retypeInput, type WholeModel } from './onnx.js';

/** A source of numbers that follow from a seed. Source: Steele, Vigna, SplitMix32. */
export class Dice {
  constructor(private state: number) {}

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) % count;
  }

  one<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)];
  }
}

const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  3,
  1.5,
  77,
  1e9,
  1e300,
  '',
  'x',
  '4',
  [],
  {},
  [0],
  [null],
  [[1]],
];

/** Changes a copy of a model folder at random. @returns what was changed */
export function mutate(folder: string, dice: Dice): string {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const graphs = files.filter((name) => name.endsWith('.onnx'));
  const kind = dice.below(20);
  if (kind < 6) return mutateFile(dice.one(files), files, dice);
  if (kind < 12) return mutateJson(dice.one(files.filter((name) => name.endsWith('.json'))), dice);
  return mutateGraph(dice.one(graphs), dice);
}

function mutateFile(file: string, files: readonly string[], dice: Dice): string {
  const content = readFileSync(file);
  switch (dice.below(8)) {
    case 0:
      rmSync(file);
      return `${file} missing`;
    case 1:
      truncateSync(file, dice.below(content.length));
      return `${file} cut`;
    case 2:
      writeFileSync(file, '');
      return `${file} empty`;
    case 3: {
      const other = dice.one(files);
      writeFileSync(file, readFileSync(other));
      return `${file} is ${other}`;
    }
    case 4: {
      const other = dice.one(files.filter((name) => name.split('.').at(-1) === file.split('.').at(-1)));
      writeFileSync(file, readFileSync(other));
      writeFileSync(other, content);
      return `${file} swapped with ${other}`;
    }
    case 5:
      rmSync(file);
      mkdirSync(file);
      return `${file} is a folder`;
    case 6:
      rmSync(dirname(file), { recursive: true });
      return `${dirname(file)} missing`;
    default: {
      const count = 1 + dice.below(8);
      for (let k = 0; k < count; k++) content[dice.below(content.length)] = dice.below(256);
      writeFileSync(file, content);
      return `${count} bytes of ${file}`;
    }
  }
}

function mutateJson(file: string, dice: Dice): string {
  const root: unknown = JSON.parse(readFileSync(file, 'utf8'));
  const places: [holder: Record<string, unknown>, key: string][] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const holder = value as Record<string, unknown>;
    for (const key of Object.keys(holder).slice(0, 200)) {
      places.push([holder, key]);
      visit(holder[key]);
    }
  };
  visit(root);
  if (places.length === 0 || dice.below(20) === 0) {
    const value = dice.one(VALUES);
    writeFileSync(file, JSON.stringify(value));
    return `${file} = ${JSON.stringify(value)}`;
  }
  const [holder, key] = dice.one(places);
  let what = `${file} ${key}`;
  if (dice.below(5) === 0) {
    Reflect.deleteProperty(holder, key);
    what += ' missing';
  } else {
    const old = holder[key];
    holder[key] =
      typeof old === 'number' && dice.below(2) === 0 ? dice.one([old * 2, old + 1, old / 2, -old]) : dice.one(VALUES);
    what += ` = ${JSON.stringify(holder[key])}`;
  }
  writeFileSync(file, JSON.stringify(root));
  return what;
}

function mutateGraph(file: string, dice: Dice): string {
  let what = '';
  changeModel(file, file, (model) => (what = changeGraph(model, dice, dirname(file))));
  return `${file} ${what}`;
}

function changeGraph(model: WholeModel, dice: Dice, folder: string): string {
  const { graph } = model;
  const input = dice.one(graph.input);
  const output = dice.one(graph.output);
  const weight = dice.one(graph.initializer);
  const node = dice.one(graph.node);
  switch (dice.below(15)) {
    case 0:
      renameInputs(model, { [input.name]: dice.one(['x', 't', 'sample', 'latents', 'out_sample', 'attention_mask']) });
      return `${input.name} renamed`;
    case 1: {
      const type = dice.one([1, 2, 3, 6, 7, 9, 10, 11, 16, 8, 14]);
      if (input.type?.value.case === 'tensorType') input.type.value.value.elemType = type;
      return `${input.name} of type ${type}`;
    }
    case 2: {
      const type = dice.one([1, 2, 3, 6, 7, 10, 11, 16]);
      retypeInput(model, input.name, type);
      return `${input.name} cast from type ${type}`;
    }
    case 3:
    case 4: {
      const dims = input.type?.value.case === 'tensorType' ? (input.type.value.value.shape?.dim ?? []) : [];
      if (dims.length === 0) return 'as it is';
      const [axis, length] = [dice.below(dims.length), dice.one([0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 77])];
      fixAxis(model, input.name, axis, length);
      return `${input.name} with ${length} on axis ${axis}`;
    }
    case 5: {
      const shape = input.type?.value.case === 'tensorType' ? input.type.value.value.shape : undefined;
      if (dice.below(2) === 0) shape?.dim.pop();
      else shape?.dim.push(...structuredClone(shape.dim.slice(0, 1)));
      return `${input.name} of another rank`;
    }
    case 6:
      renameOutput(model, output.name, dice.one(['y', 'out', 'pooler_output', 'hidden_states.1']));
      return `${output.name} renamed`;
    case 7:
      graph.output = graph.output.filter((one) => one !== output);
      return `${output.name} dropped`;
    case 8:
      graph.initializer = graph.initializer.filter((one) => one !== weight);
      return `${weight.name} dropped`;
    case 9:
      weight.dims = weight.dims.length > 0 ? weight.dims.map((dim, k) => (k === 0 ? dim + 1n : dim)) : [2n];
      return `${weight.name} of other dimensions`;
    case 10:
      graph.node = graph.node.filter((one) => one !== node);
      return `${node.name} dropped`;
    case 11:
      node.opType = dice.one(['Relu', 'Add', 'NhwcConv', 'Nothing', 'Loop', 'MatMul']);
      if (dice.below(2) === 0) node.domain = dice.one(['com.microsoft', 'trt.plugins']);
      return `${node.name} is ${node.domain} ${node.opType}`;
    case 12: {
      const opset = model.opsetImport.at(0);
      if (opset) opset.version = BigInt(dice.one([1, 9, 11, 13, 99]));
      return `opset ${opset?.version}`;
    }
    case 13: {
      const bytes = weight.rawData;
      for (let k = 0; k < bytes.length; k++) bytes[k] = dice.below(256);
      return `${weight.name} at random`;
    }
    default:
      return externalize(model, dice, folder);
  }
}

/** Moves weights into another file, which may be missing, short, or somewhere else. */
function externalize({ graph }: WholeModel, dice: Dice, folder: string): string {
  const location = dice.one(['model.onnx_data', 'weights.pb', 'sub/model.onnx.data', '../outside', '/tmp/outside', '']);
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of graph.initializer.filter(({ rawData }) => rawData.byteLength > 64)) {
    const { byteLength } = tensor.rawData;
    tensor.externalData = Object.entries({ location, offset, length: byteLength }).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    );
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    parts.push(tensor.rawData);
    tensor.rawData = new Uint8Array(0);
    offset += byteLength;
  }
  const content = Buffer.concat(parts);
  const how = dice.below(3);
  if (location.startsWith('/') || location === '' || how === 0) return `weights in ${location}, missing`;
  const path = join(folder, location);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, how === 1 ? content.subarray(0, dice.below(content.length)) : content);
  return `weights in ${location}${how === 1 ? ', short' : ''}`;
}

/** A copy of a folder. */
export function copyOf(folder: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(folder, to, { recursive: true });
}
