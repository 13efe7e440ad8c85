import type { InferenceSession } from 'onnxruntime-node';
import { deviceName, type Device } from '../device.js';

/** ONNX Runtime's execution providers for a device. What a provider has no kernel for runs on the CPU. */
export function providersOf({ kind, index }: Device): InferenceSession.ExecutionProviderConfig[] {
  switch (kind) {
    case 'cpu':
      return ['cpu'];
    case 'cuda':
      return [{ name: 'cuda', deviceId: index }, 'cpu'];
    case 'webgpu':
      return ['webgpu', 'cpu'];
  }
}

/**
 * What to do where ONNX Runtime cannot use a device.
 * @param why in its own words
 */
export function remedyFor(device: Device, why: string): string {
  const name = deviceName(device);
  if (device.kind === 'cuda') {
    if (/invalid device|device ordinal|less than total/i.test(why))
      return `nvidia-smi lists the GPUs; ${name} is not one of them`;
    if (
      /libonnxruntime_providers/.test(why) &&
      /cannot open shared object|no such file/i.test(why) &&
      !/lib(cu|nv)/.test(why)
    ) {
      return 'run ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node --foreground-scripts, which downloads the CUDA provider';
    }
    const library = /(lib(?:cu|nv)[\w.-]*\.so[\w.]*)/.exec(why)?.[1];
    if (library !== undefined) {
      return `install CUDA and cuDNN 9 of the provider's version, and put the folder of ${library} into LD_LIBRARY_PATH`;
    }
    if (/driver|no CUDA-capable|cudaGetDeviceCount|CUDA failure/i.test(why)) {
      return 'install or update the NVIDIA driver; nvidia-smi must list the GPU';
    }
    return 'use --device cpu, and see srds doctor';
  }
  if (device.kind === 'webgpu') {
    if (/adapter|vulkan|instance|WebGPU device/i.test(why)) {
      return "install the Vulkan loader (Debian: libvulkan1) and the GPU's driver with its Vulkan part; vulkaninfo must list the GPU";
    }
    return 'use --device cpu, and see srds doctor';
  }
  return 'reinstall with npm ci';
}
