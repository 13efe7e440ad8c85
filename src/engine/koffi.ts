import type * as Koffi from 'koffi';

/** The optional package koffi, which calls functions of native libraries. @throws Error if it cannot be used */
export async function loadKoffi(): Promise<typeof Koffi> {
  return (await import('koffi')).default as unknown as typeof Koffi;
}

/** A function of a native library. */
export type NativeFunction = (...args: unknown[]) => unknown;

/** The pointer that a function returns in a parameter, 0 for a null. @param call is given that parameter */
export function pointerFrom(call: (result: [bigint | null]) => void): bigint {
  const result: [bigint | null] = [null];
  call(result);
  return result[0] ?? 0n;
}
