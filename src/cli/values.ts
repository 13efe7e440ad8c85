import { SrdsError } from '../errors.js';
import type { Partition } from '../sampler/partition.js';

/** Parsers of option values. Ranges are the pipeline's to check; here a value gets its type. */

/** A whole number, such as `25`. */
export function whole(name: string): (text: string) => number {
  return (text) => {
    if (/^[+-]?\d{1,15}$/.test(text)) return Number(text);
    throw invalid(name, 'a whole number', text);
  };
}

/** A number, such as `0.5`. */
export function decimal(name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value)) return value;
    throw invalid(name, 'a number', text);
  };
}

/** A seed, of any size. */
export function seed(text: string): bigint {
  if (/^-?\d{1,40}$/.test(text)) return BigInt(text);
  throw invalid('--seed', 'a whole number', text);
}

/** `128x128`, width first. */
export function size(text: string): { width: number; height: number } {
  const match = /^(\d{1,6})x(\d{1,6})$/i.exec(text);
  if (match) return { width: Number(match[1]), height: Number(match[2]) };
  throw invalid('--size', 'WIDTHxHEIGHT in pixels, such as 128x128', text);
}

/** A number of blocks, or the fine steps of each: `8` or `2,3,20`. */
export function blocks(text: string): number | Partition {
  if (!text.includes(',')) return whole('--blocks')(text);
  return list('--blocks')(text);
}

/** Whole numbers, such as `1,8,32`. */
export function list(name: string): (text: string) => number[] {
  return (text) => text.split(',').map(whole(name));
}

/** Some of the names there are, such as `serial,srds`. */
export function names<Name extends string>(option: string, known: readonly Name[]): (text: string) => Name[] {
  return (text) =>
    text.split(',').map((part) => {
      const found = known.find((name) => name === part.trim());
      if (found !== undefined) return found;
      throw invalid(option, `names of ${known.join(', ')}`, part);
    });
}

function invalid(name: string, expected: string, text: string): SrdsError {
  return new SrdsError('INVALID_OPTION', `${expected} for ${name}`, `"${text}"`, 'see the --help of the command');
}
