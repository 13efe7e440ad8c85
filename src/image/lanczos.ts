import { setImmediate } from 'node:timers/promises';

/** Half the width of the window, in pixels of the coarser of both images. */
const SUPPORT = 3;
/** Pillow's weights are integers with so many bits after the point. */
const PRECISION = 22;
/** One half, which turns truncation into rounding. */
const HALF = 1 << (PRECISION - 1);
/** Milliseconds of work between other events. */
const TURN_MS = 5;

/** Weights of input pixels `from`, `from` + 1, ... in one output pixel. */
interface Taps {
  readonly from: number;
  readonly weights: Int32Array;
}

/** Width and height in pixels. */
interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * Resizes an 8-bit image with three channels as Pillow does with LANCZOS, bit for bit: in fixed point, first along rows, then along
 * columns. Pillow 13 takes the columns first at some sizes. Works in turns with other events. Source: ImagingResample of Pillow.
 * @param data [height, width, 3]
 * @returns [height, width, 3] of the new size
 */
export async function lanczos(data: Uint8Array, from: Size, to: Size): Promise<Uint8Array> {
  const rows = from.width === to.width ? data : await alongRows(data, from, to.width);
  return from.height === to.height ? rows : alongColumns(rows, { ...from, width: to.width }, to.height);
}

async function alongRows(data: Uint8Array, { width, height }: Size, to: number): Promise<Uint8Array> {
  const taps = tapsOf(width, to);
  const result = new Uint8Array(3 * to * height);
  await inTurns(height, (y) => {
    let out = 3 * to * y;
    for (const { from, weights } of taps) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let at = 3 * (width * y + from);
      for (let k = 0; k < weights.length; k++, at += 3) {
        red += weights[k] * data[at];
        green += weights[k] * data[at + 1];
        blue += weights[k] * data[at + 2];
      }
      result[out++] = rounded(red);
      result[out++] = rounded(green);
      result[out++] = rounded(blue);
    }
  });
  return result;
}

async function alongColumns(data: Uint8Array, { width, height }: Size, to: number): Promise<Uint8Array> {
  const taps = tapsOf(height, to);
  const stride = 3 * width;
  const result = new Uint8Array(stride * to);
  const sums = new Int32Array(stride);
  await inTurns(to, (y) => {
    sums.fill(HALF);
    const { from, weights } = taps[y];
    weights.forEach((weight, k) => {
      const row = stride * (from + k);
      for (let i = 0; i < stride; i++) sums[i] += weight * data[row + i];
    });
    for (let i = 0; i < stride; i++) result[stride * y + i] = rounded(sums[i]);
  });
  return result;
}

function rounded(sum: number): number {
  return Math.min(255, Math.max(0, sum >> PRECISION));
}

/** Works on lines one after the other, and lets other events through. */
async function inTurns(lines: number, work: (line: number) => void): Promise<void> {
  let begun = performance.now();
  for (let line = 0; line < lines; line++) {
    work(line);
    if (performance.now() - begun < TURN_MS) continue;
    await setImmediate();
    begun = performance.now();
  }
}

function tapsOf(length: number, outLength: number): Taps[] {
  const scale = length / outLength;
  const filterScale = Math.max(1, scale);
  const support = SUPPORT * filterScale;
  return Array.from({ length: outLength }, (_, i) => {
    const center = (i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    const values = Array.from({ length: end - from }, (_, k) => kernel((from + k - center + 0.5) * (1 / filterScale)));
    const total = values.reduce((sum, value) => sum + value, 0);
    return {
      from,
      weights: Int32Array.from(values, (value) => {
        const scaled = value * (1 / total) * 2 ** PRECISION;
        return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
      }),
    };
  });
}

function kernel(x: number): number {
  return x >= -SUPPORT && x < SUPPORT ? sinc(x) * sinc(x / SUPPORT) : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}
