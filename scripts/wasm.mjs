// Compiles the SIMD kernel to the place where its module looks for it.
import { readFileSync, writeFileSync } from 'node:fs';
import wabt from 'wabt';

const KERNEL = 'engine/local/sums';

const source = readFileSync(new URL(`../src/${KERNEL}.wat`, import.meta.url), 'utf8');
const { parseWat } = await wabt();
const module = parseWat(`${KERNEL}.wat`, source, { simd: true });
writeFileSync(new URL(`../dist/${KERNEL}.wasm`, import.meta.url), module.toBinary({}).buffer);
