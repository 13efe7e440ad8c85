/**
 * Peak memory of the device process, for small models and for one with a gigabyte of weights. `npm run bench:memory`
 * Linux only: it reads /proc.
 */
import { closeSync, cpSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
} from 'onnx-buf';
import { Pipeline } from 'srds';
import { DeviceEngine } from 'srds/engine';
import { BUNDLED_MODEL } from 'srds/model';
import { fixture } from '../test/support/fixtures.js';

const ROWS = 262_144;
const WIDTH = 1024;

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));

/** The tiny SD 1.5 with an additional gigabyte of weights in its UNet: a matrix that each run multiplies with. */
function heavy(external: boolean): string {
  const folder = join(scratch, external ? 'external' : 'in-file');
  cpSync(fixture('models/sd15'), folder, { recursive: true });
  const file = join(folder, 'unet/model.onnx');
  const model = fromBinary(ModelProtoSchema, readFileSync(file));
  const { graph } = model;
  if (!graph) throw new Error('no graph');
  const bytes = ROWS * WIDTH * 4;
  const table = create(TensorProtoSchema, { name: 'table', dims: [BigInt(WIDTH), BigInt(ROWS)], dataType: 1 });
  const shape = create(TensorProtoSchema, {
    name: 'shape',
    dims: [2n],
    dataType: TensorProto_DataType.INT64,
    rawData: new Uint8Array(BigInt64Array.of(1n, BigInt(WIDTH)).buffer),
  });
  const zero = create(TensorProtoSchema, { name: 'zero', dims: [], dataType: 1, rawData: new Uint8Array(4) });
  if (external) {
    table.dataLocation = TensorProto_DataLocation.EXTERNAL;
    table.externalData = Object.entries({ location: 'model.onnx_data', offset: 0, length: bytes }).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    );
    const out = openSync(join(folder, 'unet/model.onnx_data'), 'w');
    for (let k = 0; k < 1024; k++) writeSync(out, Buffer.alloc(bytes / 1024, 1));
    closeSync(out);
  } else {
    table.rawData = new Uint8Array(bytes).fill(1);
  }
  graph.initializer.push(table, zero, shape);
  const node = (opType: string, input: string[], output: string) =>
    create(NodeProtoSchema, { opType, input, output: [output] });
  for (const other of graph.node) other.output = other.output.map((name) => (name === 'out_sample' ? 'plain' : name));
  graph.node.push(
    node('ReduceMean', ['sample'], 'heavy_mean'),
    node('Squeeze', ['heavy_mean'], 'heavy_number'),
    node('Expand', ['heavy_number', 'shape'], 'heavy_row'),
    node('MatMul', ['heavy_row', 'table'], 'heavy_product'),
    node('ReduceMean', ['heavy_product'], 'heavy_value'),
    node('Squeeze', ['heavy_value'], 'heavy_scalar'),
    node('Mul', ['heavy_scalar', 'zero'], 'heavy_nothing'),
    node('Add', ['plain', 'heavy_nothing'], 'out_sample'),
  );
  const out = toBinary(ModelProtoSchema, model);
  const fd = openSync(file, 'w');
  writeSync(fd, out);
  closeSync(fd);
  return folder;
}

function peak(pid: number): number {
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) / 1024;
}

const models: [string, () => string][] = [
  ['sd15 (tiny)', () => fixture('models/sd15')],
  ['sd21v (tiny)', () => fixture('models/sd21v')],
  ['sdxl (tiny)', () => fixture('models/sdxl')],
  ['scenes-128', () => BUNDLED_MODEL],
  ['sd15 + 1 GB in model.onnx', () => heavy(false)],
  ['sd15 + 1 GB in model.onnx_data', () => heavy(true)],
];

try {
  const only = process.argv.at(2);
  if (only === undefined) {
    const { spawnSync } = await import('node:child_process');
    console.log('| model | peak, MB | with --low-memory, MB |\n|---|---|---|');
    for (const [index, [name]] of models.entries()) {
      const cells = ['plain', 'low'].map((mode) => {
        const { stdout, stderr } = spawnSync(process.execPath, [process.argv[1], `${index}:${mode}`], {
          encoding: 'utf8',
        });
        if (!stdout) throw new Error(stderr);
        return stdout.trim();
      });
      console.log(`| ${name} | ${cells[0]} | ${cells[1]} |`);
    }
  } else {
    const [index, mode] = only.split(':');
    const pipeline = await Pipeline.open(models[Number(index)][1](), { lowMemory: mode === 'low' });
    await pipeline.generate({ prompt: 'a red ball', steps: 25 }).result;
    if (!(pipeline.engine instanceof DeviceEngine)) throw new Error('the CPU is measured');
    const [pid] = pipeline.engine.pids;
    console.log(peak(pid).toFixed(0));
    await pipeline.close();
  }
} finally {
  rmSync(scratch, { recursive: true });
}
