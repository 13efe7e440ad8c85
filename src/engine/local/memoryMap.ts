import { loadKoffi } from '../koffi.js';

const READ_WRITE = 1 | 2;
const SHARED = 1;
/** MAP_FAILED, as koffi returns it. */
const FAILED = 2n ** 64n - 1n;

/** A part of a file in memory. Nothing may use `data` once it is unmapped. */
export interface Mapping {
  readonly data: ArrayBuffer;
  unmap(): void;
}

/** Maps the first bytes of an open file into memory, for reading and writing. @throws Error if the system refuses */
export type MemoryMap = (fd: number, bytes: number) => Mapping;

/** @returns undefined where files cannot be mapped: without the optional package koffi, or on another system than Linux */
export async function loadMemoryMap(): Promise<MemoryMap | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const koffi = await loadKoffi();
    const libc = koffi.load('libc.so.6');
    const munmap = libc.func('munmap', 'int', ['void *', 'size_t']);
    const mmap = libc.func('mmap', 'void *', ['void *', 'size_t', 'int', 'int', 'int', 'int64_t']);
    return (fd, bytes) => {
      const address = mmap(null, bytes, READ_WRITE, SHARED, fd, 0) as bigint | null;
      if (address === null || address === FAILED) throw new Error('the shared channel cannot be mapped into memory');
      return { data: koffi.view(address, bytes), unmap: () => void munmap(address, bytes) };
    };
  } catch {
    return undefined;
  }
}
