import { KERNEL_DOMAIN } from '../../../onnx/fuse/kernels/domain.js';
import { CudaRuntime } from '../cudaRuntime.js';
import type { OrtApi } from '../ortApi.js';
import { CudaKernels } from './cudaKernels.js';
import { CustomOperators } from './customOperators.js';
import { kernelOperators } from './operators.js';

/** ONNX Runtime's name of the provider. */
const PROVIDER = 'CUDAExecutionProvider';

/** This package's kernels on a GPU. They are loaded when a graph first needs them. */
export class GpuKernels {
  private known: CustomOperators | undefined;

  /** @param device index of the GPU */
  constructor(
    private readonly api: OrtApi,
    private readonly device: number,
  ) {}

  /** The operators that use them. @throws Error that says why there are none */
  operators(): CustomOperators {
    return (this.known ??= this.load());
  }

  private load(): CustomOperators {
    const { koffi } = this.api;
    const { launch, version } = new CudaKernels(koffi, CudaRuntime.load(koffi, this.device));
    return new CustomOperators(this.api, KERNEL_DOMAIN, PROVIDER, kernelOperators(launch), version);
  }
}
