import type { Processor } from '../device.js';
import { elementBytes } from '../bucketSession.js';
import { sizeOf } from '../../tensor/tensor.js';
import { CudaRuntime, type PinnedMemory } from './cudaRuntime.js';
import type { OrtApi, Pointer } from './ortApi.js';

/** ONNXTensorElementDataType, by name. */
export const ELEMENT_TYPES: Readonly<Record<string, number>> = { float32: 1, uint8: 2, int32: 6, int64: 7 };
/** OrtDeviceAllocator and OrtMemTypeDefault. */
const ALLOCATOR = [0, 0] as const;

/** A tensor of a session, and the memory of this process that its content is written to and read from. */
export interface TensorMemory {
  /** The OrtValue. */
  readonly value: Pointer;
  readonly data: ArrayBuffer;
  /** Makes what was written to `data` the tensor's content. */
  upload(): void;
  /** Makes the tensor's content readable in `data`. */
  download(): void;
  free(): void;
}

/** Allocates tensors that stay at their addresses, as CUDA graphs require. */
export interface Memory {
  /** @param type of the elements; see `elementBytes` */
  allocate(type: string, dims: readonly number[]): TensorMemory;
}

/** The memory of a device. @throws Error if it cannot be reached */
export function memoryOf(api: OrtApi, { kind, index }: Processor): Memory {
  return kind === 'cuda' ? new CudaMemory(api, CudaRuntime.load(api.koffi, index), index) : new CpuMemory(api);
}

/** The OrtMemoryInfo of the CPU. */
export function cpuMemoryInfo(api: OrtApi): Pointer {
  return api.create('CreateMemoryInfo', 'Cpu', ALLOCATOR[0], 0, ALLOCATOR[1]);
}

class CpuMemory implements Memory {
  private readonly info: Pointer;

  constructor(private readonly api: OrtApi) {
    this.info = cpuMemoryInfo(api);
  }

  allocate(type: string, dims: readonly number[]): TensorMemory {
    const { api } = this;
    const data = new ArrayBuffer(bytesOf(type, dims));
    const value = createTensor(api, this.info, api.koffi.address(data), type, dims);
    return { value, data, upload: () => undefined, download: () => undefined, free: () => api.free('Value', value) };
  }
}

class CudaMemory implements Memory {
  private readonly info: Pointer;

  constructor(
    private readonly api: OrtApi,
    private readonly runtime: CudaRuntime,
    device: number,
  ) {
    this.info = api.create('CreateMemoryInfo', 'Cuda', ALLOCATOR[0], device, ALLOCATOR[1]);
  }

  allocate(type: string, dims: readonly number[]): TensorMemory {
    const { runtime } = this;
    const bytes = bytesOf(type, dims);
    // Not from the session's arena: a captured graph keeps writing to what the arena takes for free.
    const device = runtime.allocate(bytes);
    let pinned: PinnedMemory | undefined;
    try {
      pinned = runtime.allocatePinned(bytes);
      return this.tensorIn(device, pinned, type, dims);
    } catch (error) {
      if (pinned) runtime.freePinned(pinned);
      runtime.free(device);
      throw error;
    }
  }

  private tensorIn(device: Pointer, pinned: PinnedMemory, type: string, dims: readonly number[]): TensorMemory {
    const { api, runtime } = this;
    const value = createTensor(api, this.info, device, type, dims);
    return {
      value,
      data: pinned.data,
      upload: () => runtime.upload(device, pinned),
      download: () => runtime.download(pinned, device),
      free: () => {
        api.free('Value', value);
        runtime.freePinned(pinned);
        runtime.free(device);
      },
    };
  }
}

function bytesOf(type: string, dims: readonly number[]): number {
  return sizeOf(dims) * elementBytes(type);
}

function createTensor(api: OrtApi, info: Pointer, address: Pointer, type: string, dims: readonly number[]): Pointer {
  const shape = BigInt64Array.from(dims, BigInt);
  const element = ELEMENT_TYPES[type];
  return api.create('CreateTensorWithDataAsOrtValue', info, address, bytesOf(type, dims), shape, dims.length, element);
}
