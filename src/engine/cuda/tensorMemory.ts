import type { Processor } from '../device.js';
import { elementBytes } from '../bucketSession.js';
import { sizeOf } from '../../tensor/tensor.js';
import { CudaRuntime } from './cudaRuntime.js';
import { afterFreeing, freeAll, scoped } from './freeing.js';
import type { OrtApi, Pointer } from './ortApi.js';

/** ONNXTensorElementDataType, by name. */
export const ELEMENT_TYPES: Readonly<Record<string, number>> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  float16: 10,
};
/** OrtDeviceAllocator and OrtMemTypeDefault. */
const ALLOCATOR = [0, 0] as const;
/** The memory of this process. */
export const CPU: Processor = { kind: 'cpu', index: 0 };

/** A tensor in the memory of a device. */
export interface DeviceTensor {
  /** The OrtValue. */
  readonly value: Pointer;
  free(): void;
}

/** A tensor of a session, and the memory of this process that its content is written to and read from. */
export interface TensorMemory extends DeviceTensor {
  readonly data: ArrayBuffer;
  /** Makes what was written to `data` the tensor's content. */
  upload(): void;
  /** Makes the tensor's content readable in `data`. */
  download(): void;
}

/** Allocates tensors that stay at their addresses, as CUDA graphs require. */
export interface Memory {
  /** @param type of the elements; see `elementBytes` */
  allocate(type: string, dims: readonly number[]): TensorMemory;
  /** Allocates a tensor that only sessions write and read. */
  allocateInside(type: string, dims: readonly number[]): DeviceTensor;
}

/** The memory of a device. @throws Error if it cannot be reached */
export function memoryOf(api: OrtApi, device: Processor): Memory {
  const { kind, index } = device;
  return kind === 'cuda' ? new CudaMemory(api, CudaRuntime.load(api.koffi, index), device) : new CpuMemory(api);
}

/** Calls a function with the OrtMemoryInfo of a device, and frees it. */
export function withMemoryInfo<T>(api: OrtApi, { kind, index }: Processor, run: (info: Pointer) => T): T {
  return scoped((defer) => {
    const info = api.create('CreateMemoryInfo', kind === 'cuda' ? 'Cuda' : 'Cpu', ALLOCATOR[0], index, ALLOCATOR[1]);
    defer(() => api.free('MemoryInfo', info));
    return run(info);
  });
}

class CpuMemory implements Memory {
  constructor(private readonly api: OrtApi) {}

  allocate(type: string, dims: readonly number[]): TensorMemory {
    const { api } = this;
    const data = new ArrayBuffer(bytesOf(type, dims));
    const value = createTensor(api, CPU, api.koffi.address(data), type, dims);
    return { value, data, upload: () => undefined, download: () => undefined, free: () => api.free('Value', value) };
  }

  allocateInside(type: string, dims: readonly number[]): DeviceTensor {
    return this.allocate(type, dims);
  }
}

class CudaMemory implements Memory {
  constructor(
    private readonly api: OrtApi,
    private readonly runtime: CudaRuntime,
    private readonly device: Processor,
  ) {}

  allocate(type: string, dims: readonly number[]): TensorMemory {
    const { runtime } = this;
    const { address, tensor } = this.reserve(type, dims);
    try {
      const pinned = runtime.allocatePinned(bytesOf(type, dims));
      return {
        value: tensor.value,
        data: pinned.data,
        upload: () => runtime.upload(address, pinned),
        download: () => runtime.download(pinned, address),
        free: () => freeAll([() => tensor.free(), () => runtime.freePinned(pinned)]),
      };
    } catch (error) {
      throw afterFreeing(error, () => tensor.free());
    }
  }

  allocateInside(type: string, dims: readonly number[]): DeviceTensor {
    return this.reserve(type, dims).tensor;
  }

  /** Not from a session's arena: a captured graph keeps writing to what the arena takes for free. */
  private reserve(type: string, dims: readonly number[]): { readonly address: Pointer; readonly tensor: DeviceTensor } {
    const { api, runtime } = this;
    const address = runtime.allocate(bytesOf(type, dims));
    try {
      const value = createTensor(api, this.device, address, type, dims);
      const free = () => freeAll([() => api.free('Value', value), () => runtime.free(address)]);
      return { address, tensor: { value, free } };
    } catch (error) {
      throw afterFreeing(error, () => runtime.free(address));
    }
  }
}

function bytesOf(type: string, dims: readonly number[]): number {
  return sizeOf(dims) * elementBytes(type);
}

function createTensor(
  api: OrtApi,
  device: Processor,
  address: Pointer,
  type: string,
  dims: readonly number[],
): Pointer {
  const shape = BigInt64Array.from(dims, BigInt);
  const element = ELEMENT_TYPES[type];
  const bytes = bytesOf(type, dims);
  return withMemoryInfo(api, device, (info) =>
    api.create('CreateTensorWithDataAsOrtValue', info, address, bytes, shape, dims.length, element),
  );
}
