import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { reasonIn } from '../../onnx/ortMessage.js';
import { deviceName, type Processor } from '../device.js';

/** Why a device does not work, and the remedy. */
export interface Problem {
  readonly why: string;
  readonly remedy: string;
}

const INSTALL_CUDA = 'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12';
/** One of these exists if NVIDIA's driver is loaded, the last one in WSL. */
const DRIVERS = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg'];
const USE_CPU = 'use --device cpu; srds doctor shows all devices';

/** Explains why ONNX Runtime cannot use a device. @param message ONNX Runtime's own */
export async function explain(device: Processor, message: string): Promise<Problem> {
  const why = reasonIn(message);
  switch (device.kind) {
    case 'cuda':
      return explainCuda(device, why);
    case 'webgpu':
      return { why, remedy: /adapter|instance|device/i.test(why) ? VULKAN : USE_CPU };
    case 'cpu':
      return { why, remedy: 'install again with npm ci' };
  }
}

const VULKAN =
  "install the Vulkan loader (Debian: libvulkan1) and the Vulkan part of the GPU's driver; vulkaninfo must list the GPU";

async function explainCuda(device: Processor, why: string): Promise<Problem> {
  const windows = platform() === 'win32';
  const provider = join(binaries(), windows ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so');
  if (!(windows || platform() === 'linux') || arch() !== 'x64') {
    return { why: `no CUDA provider for ${platform()} on ${arch()}`, remedy: 'use --device webgpu or cpu' };
  }
  if (!existsSync(provider)) {
    const remedy = `run ${INSTALL_CUDA}, which downloads it, then srds doctor`;
    const why = 'the CUDA provider of ONNX Runtime is not installed';
    return windows || DRIVERS.some(existsSync)
      ? { why, remedy }
      : { why: `${why}, nor is an NVIDIA driver`, remedy: `with an NVIDIA GPU, install its driver; then ${remedy}` };
  }
  if (/invalid device|ordinal|less than total/i.test(why)) {
    return { why, remedy: `choose a GPU that nvidia-smi -L lists; ${deviceName(device)} is none of them` };
  }
  const missing = await missingLibraries(provider);
  if (missing.length > 0) {
    const remedy = 'install that version of CUDA and cuDNN 9, or put their folders into LD_LIBRARY_PATH';
    return { why: `libraries are missing: ${missing.join(', ')}`, remedy };
  }
  if (/driver|no CUDA-capable|CUDA failure|device count/i.test(why)) {
    return { why, remedy: 'install or update the NVIDIA driver; nvidia-smi must list the GPU' };
  }
  return { why, remedy: USE_CPU };
}

/** The folder of onnxruntime-node's native libraries. */
function binaries(): string {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return join(entry, '..', 'bin', 'napi-v6', platform(), arch());
}

/** Libraries that a library needs and the system cannot find. */
async function missingLibraries(library: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ldd', [library]).catch(() => ({ stdout: '' }));
  return [...stdout.matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name);
}
