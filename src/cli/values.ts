import { SrdsError } from '../errors.js';
import type { ImageSize } from '../model/family.js';
import { GENERATION_OPTIONS } from '../pipeline/options/generation.js';
import { integerFrom } from '../pipeline/options/option.js';

/** Parsers of flags whose values are no options of a generation. Commands check the ranges. */

/** A whole number, such as `25`. */
export function whole(name: string): (text: string) => number {
  return (text) => {
    const value = integerFrom(text);
    if (typeof value === 'number') return value;
    throw invalid(name, 'a whole number', text);
  };
}

/** Whole numbers, such as `1,8,32`. */
export function list(name: string): (text: string) => number[] {
  return (text) => text.split(',').map(whole(name));
}

/** Numbers above 0, such as `0.1,0.5`. */
export function numbers(name: string): (text: string) => number[] {
  return (text) =>
    text.split(',').map((part) => {
      const value = Number(part);
      if (part.trim() !== '' && value > 0 && Number.isFinite(value)) return value;
      throw invalid(name, 'numbers above 0', part);
    });
}

/** A size in pixels, such as `512x512`. */
export function size(name: string): (text: string) => ImageSize {
  return (text) => {
    const value = GENERATION_OPTIONS.size.read(text);
    if (typeof value === 'object') return value;
    throw invalid(name, 'a size such as 512x512', text);
  };
}

/** Some of the known names, such as `serial,srds`. */
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
