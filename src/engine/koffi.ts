import type * as Koffi from 'koffi';

/** The optional package koffi, which calls functions of native libraries. @throws Error if it cannot be used */
export async function loadKoffi(): Promise<typeof Koffi> {
  return (await import('koffi')).default as unknown as typeof Koffi;
}
