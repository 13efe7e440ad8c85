import type { Processor } from '../device.js';
import { scoped } from './freeing.js';
import type { CustomOperators } from './kernels/customOperators.js';
import { LOG_FATAL, type OrtApi, type Pointer } from './ortApi.js';

/** How to open a session. */
export interface SessionSettings {
  readonly device: Processor;
  /** Threads on the CPU. */
  readonly threads: number;
  /** Folder of the weights that the graph refers to. */
  readonly weights: string | undefined;
  /** Whether CUDA times all algorithms of a convolution to choose one, or estimates which is the fastest, as PyTorch does; default: yes. */
  readonly searches?: boolean | undefined;
  /** Operators of the graph that ONNX Runtime does not have. */
  readonly operators?: CustomOperators | undefined;
}

/** Calls a function with the options of a session on the CPU, and frees them. */
export function withSessionOptions<T>(
  api: OrtApi,
  { threads, weights, operators }: SessionSettings,
  run: (options: Pointer) => T,
): T {
  return scoped((defer) => {
    const options = api.create('CreateSessionOptions');
    defer(() => api.free('SessionOptions', options));
    api.call('SetSessionLogSeverityLevel', options, LOG_FATAL);
    api.call('SetIntraOpNumThreads', options, threads);
    api.call('SetInterOpNumThreads', options, 1);
    const configure = (key: string, value: string) => api.call('AddSessionConfigEntry', options, key, value);
    configure('session.intra_op.allow_spinning', '0');
    if (weights !== undefined) configure('session.model_external_initializers_file_folder_path', weights);
    operators?.addTo(options);
    return run(options);
  });
}

/** Adds a GPU to the options of a session. @param more options of the CUDA provider */
export function appendCuda(
  api: OrtApi,
  options: Pointer,
  { index }: Processor,
  more: Readonly<Record<string, string>> = {},
): void {
  const values = { device_id: String(index), arena_extend_strategy: 'kSameAsRequested', ...more };
  scoped((defer) => {
    const cuda = api.create('CreateCUDAProviderOptions');
    defer(() => api.free('CUDAProviderOptions', cuda));
    const names = Object.keys(values);
    api.call('UpdateCUDAProviderOptions', cuda, names, Object.values(values), names.length);
    api.call('SessionOptionsAppendExecutionProvider_CUDA_V2', options, cuda);
  });
}
