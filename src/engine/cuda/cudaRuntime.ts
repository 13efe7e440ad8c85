import type * as Koffi from 'koffi';
import { pointerFrom, type NativeFunction } from '../koffi.js';
import type { Pointer } from './ortApi.js';

/** Names of the CUDA runtime library. One that the driver is too old for cannot select a device. */
const LIBRARIES = ['libcudart.so.13', 'libcudart.so.12'];
const TO_DEVICE = 1;
const TO_HOST = 2;
/** The library of convolutions, whose kernels differ between versions. */
const CUDNN = 'libcudnn.so.9';
/** cudaDevAttrComputeCapabilityMajor and -Minor. */
const COMPUTE_CAPABILITY = [75, 76];
/** Version 13.1 is 13010. */
const VERSIONS_A_MAJOR = 1000;

/** Memory that is reachable from this process and, without a copy in between, from a GPU. */
export interface PinnedMemory {
  readonly pointer: Pointer;
  readonly data: ArrayBuffer;
}

/** The functions of the CUDA runtime that move tensors between this process and a GPU. */
export class CudaRuntime {
  private constructor(
    private readonly koffi: typeof Koffi,
    /** Kept, since a library is unloaded when its handle is collected. */
    readonly library: Koffi.LibraryHandle,
    private readonly functions: Readonly<
      Record<'malloc' | 'hostAlloc' | 'free' | 'freeHost' | 'memcpy' | 'memGetInfo', NativeFunction>
    >,
    private readonly errorString: NativeFunction,
    private readonly clearError: NativeFunction,
    private readonly device: number,
  ) {}

  /** @param device index of the GPU whose memory is allocated @throws Error if there is no CUDA runtime */
  static load(koffi: typeof Koffi, device: number): CudaRuntime {
    const library = libraryFor(koffi, device);
    const out = koffi.out(koffi.pointer('void *'));
    const size = koffi.out(koffi.pointer('size_t'));
    return new CudaRuntime(
      koffi,
      library,
      {
        malloc: library.func('cudaMalloc', 'int', [out, 'size_t']),
        hostAlloc: library.func('cudaHostAlloc', 'int', [out, 'size_t', 'uint']),
        free: library.func('cudaFree', 'int', ['void *']),
        freeHost: library.func('cudaFreeHost', 'int', ['void *']),
        memcpy: library.func('cudaMemcpy', 'int', ['void *', 'void *', 'size_t', 'int']),
        memGetInfo: library.func('cudaMemGetInfo', 'int', [size, size]),
      },
      library.func('cudaGetErrorString', 'str', ['int']),
      library.func('cudaGetLastError', 'int', []),
      device,
    );
  }

  /** The GPU's compute capability, and the versions of the driver's CUDA, of the runtime and of cuDNN. */
  describe(): readonly number[] {
    const versions = ['cudaDriverGetVersion', 'cudaRuntimeGetVersion'].map((name) => this.number(name));
    return [...this.capability, ...versions, cudnnVersion(this.koffi)];
  }

  /** The GPU's compute capability, major and minor. */
  get capability(): readonly number[] {
    return COMPUTE_CAPABILITY.map((attribute) => this.number('cudaDeviceGetAttribute', attribute, this.device));
  }

  /** Major version of the runtime. */
  get major(): number {
    return Math.floor(this.number('cudaRuntimeGetVersion') / VERSIONS_A_MAJOR);
  }

  /** Allocates memory of the GPU. @throws Error if there is too little */
  allocate(bytes: number): Pointer {
    return this.allocated(this.functions.malloc, bytes);
  }

  /** Allocates memory of this process that the GPU reads and writes by itself, filled with zeros. */
  allocatePinned(bytes: number): PinnedMemory {
    const pointer = this.allocated(this.functions.hostAlloc, bytes, 0);
    const data = this.koffi.view(pointer, bytes);
    new Uint8Array(data).fill(0);
    return { pointer, data };
  }

  /** Bytes of the GPU's memory that no process uses. */
  freeBytes(): number {
    const [free, total] = [[0], [0]];
    this.check(this.functions.memGetInfo(free, total));
    return free[0];
  }

  free(device: Pointer): void {
    this.check(this.functions.free(device));
  }

  freePinned({ pointer }: PinnedMemory): void {
    this.check(this.functions.freeHost(pointer));
  }

  /** Copies to the GPU, and returns when the copy is complete. */
  upload(device: Pointer, { pointer, data }: PinnedMemory): void {
    this.check(this.functions.memcpy(device, pointer, data.byteLength, TO_DEVICE));
  }

  /** Copies from the GPU, and returns when the copy is complete. */
  download({ pointer, data }: PinnedMemory, device: Pointer): void {
    this.check(this.functions.memcpy(pointer, device, data.byteLength, TO_HOST));
  }

  private allocated(allocate: NativeFunction, bytes: number, ...flags: readonly number[]): Pointer {
    return pointerFrom((result) => this.check(allocate(result, bytes, ...flags)));
  }

  /** The number that a function of the runtime returns in its first parameter. */
  private number(name: string, ...given: readonly number[]): number {
    const result = [0];
    const out = this.koffi.out(this.koffi.pointer('int'));
    this.library.func(name, 'int', [out, ...given.map(() => 'int')])(result, ...given);
    return result[0];
  }

  private check(error: unknown): void {
    if (error === 0) return;
    // ONNX Runtime would take it for an error of its own.
    this.clearError();
    throw new Error(`CUDA: ${String(this.errorString(error))}`);
  }
}

/** 0 where it cannot be found. */
function cudnnVersion(koffi: typeof Koffi): number {
  try {
    return Number(koffi.load(CUDNN).func('cudnnGetVersion', 'size_t', [])());
  } catch {
    return 0;
  }
}

function libraryFor(koffi: typeof Koffi, device: number): Koffi.LibraryHandle {
  for (const name of LIBRARIES) {
    try {
      const library = koffi.load(name);
      if (library.func('cudaSetDevice', 'int', ['int'])(device) === 0) return library;
    } catch {
      // Another version may be installed.
    }
  }
  throw new Error(`none of the libraries ${LIBRARIES.join(', ')} can be used`);
}
