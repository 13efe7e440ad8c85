import type * as Koffi from 'koffi';

const READ_WRITE = 1 | 2;
const SHARED = 1;
/** MAP_FAILED, as koffi returns it. */
const FAILED = 2n ** 64n - 1n;

/** Maps the first bytes of an open file into memory, for reading and writing, until the process ends. */
export type MemoryMap = (fd: number, bytes: number) => ArrayBuffer;

/** @returns undefined where files cannot be mapped: without the optional package koffi, or on another system than Linux */
export async function loadMemoryMap(): Promise<MemoryMap | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const koffi = (await import('koffi')).default as unknown as typeof Koffi;
    const mmap = koffi.load('libc.so.6').func('mmap', 'void *', ['void *', 'size_t', 'int', 'int', 'int', 'int64_t']);
    return (fd, bytes) => {
      const address = mmap(null, bytes, READ_WRITE, SHARED, fd, 0) as bigint | null;
      if (address === null || address === FAILED) throw new Error('the shared channel cannot be mapped into memory');
      return koffi.view(address, bytes);
    };
  } catch {
    return undefined;
  }
}
