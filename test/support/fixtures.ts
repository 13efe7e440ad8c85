import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { OutputRow } from 'srds/engine';
import type { Scheduler } from 'srds/schedule';

/** The repository's root; tests run from build/test. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Path of a file or folder of test/fixtures. */
export function fixture(path: string): string {
  return `${ROOT}test/fixtures/${path}`;
}

/** Names, without extension, of the references in a folder of test/fixtures. */
export function references(folder: string): string[] {
  return readdirSync(fixture(folder))
    .filter((name) => name.endsWith('.safetensors'))
    .map((name) => basename(name, '.safetensors'));
}

/** A reference file: what diffusers or torch computed. */
export interface Reference {
  readonly metadata: Readonly<Record<string, string>>;
  /** What the file holds, by name. */
  readonly tensors: Readonly<Record<string, unknown>>;
  floats(name: string): Float32Array;
  numbers(name: string): number[];
  bytes(name: string): Uint8Array;
  shape(name: string): number[];
}

interface Header {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: [number, number];
}

/** Reads test/fixtures/PATH.safetensors. */
export function reference(path: string): Reference {
  const file = readFileSync(fixture(`${path}.safetensors`));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<string, Header>;
  const metadata = header.__metadata__ as unknown as Record<string, string>;
  const tensor = (name: string, dtypes: readonly string[]): [string, ArrayBuffer] => {
    const entry = header[name] as Header | undefined;
    if (!entry || !dtypes.includes(entry.dtype)) throw new Error(`${path}: no ${name} of type ${dtypes.join()}`);
    const [start, end] = entry.data_offsets;
    return [entry.dtype, new Uint8Array(file.subarray(8 + length + start, 8 + length + end)).buffer];
  };
  return {
    metadata,
    tensors: header,
    floats: (name) => new Float32Array(tensor(name, ['F32'])[1]),
    bytes: (name) => new Uint8Array(tensor(name, ['U8'])[1]),
    numbers: (name) => {
      const [dtype, data] = tensor(name, ['I64', 'F32']);
      return dtype === 'F32' ? [...new Float32Array(data)] : [...new BigInt64Array(data)].map(Number);
    },
    shape: (name) => header[name].shape,
  };
}

/** Largest difference over the largest magnitude of `expected`. */
export function relativeError(actual: OutputRow, expected: OutputRow): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values against ${expected.length}`);
  let difference = 0;
  let magnitude = 0;
  expected.forEach((value, k) => {
    difference = Math.max(difference, Math.abs(value - actual[k]));
    magnitude = Math.max(magnitude, Math.abs(value));
  });
  return difference / magnitude;
}

/** This package's name of a diffusers scheduler class. */
export function schedulerClass(name: string): Scheduler {
  const short = name.replace(/(Discrete)?Scheduler$/, '').toLowerCase();
  return short === 'dpmsolvermultistep' ? 'dpm' : (short as Scheduler);
}

/** Images are equal within one grey level at 0.1 % of the values. */
export function assertSameImage(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.length, expected.length);
  const differences = actual.map((value, k) => Math.abs(value - expected[k]));
  assert.ok(Math.max(...differences) <= 1);
  // Values next to a half round either way: up to one in a thousand, and a few more in a small image on another kind of processor.
  assert.ok(differences.filter((d) => d > 0).length <= actual.length / 1000 + 12);
}
