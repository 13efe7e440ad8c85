import type { ConstantPart } from '../../onnx/sharedConstants.js';
import { afterFreeing, freeAll, scoped } from './freeing.js';
import type { OrtApi, Pointer } from './ortApi.js';
import { appendCuda, withSessionOptions, type SessionSettings } from './sessionOptions.js';
import { memoryOf, type DeviceTensor, type Memory } from './tensorMemory.js';

/** ORT_DISABLE_ALL: otherwise the host would compute what the graph is for. */
const NO_OPTIMIZATION = 0;

/** Constants of a graph in the memory of a device. */
export interface ConstantTensors {
  /** The OrtValues, by name. */
  readonly values: ReadonlyMap<string, Pointer>;
  /** @throws Error the first of CUDA's, after it has freed what it can */
  free(): void;
}

/** Computes the constants of a graph on a device. @throws Error whatever ONNX Runtime or CUDA reports */
export function computeConstants(
  api: OrtApi,
  parts: readonly ConstantPart[],
  settings: SessionSettings,
): ConstantTensors {
  const memory = memoryOf(api, settings.device);
  const tensors = new Map<string, DeviceTensor>();
  const free = () => freeAll([...tensors.values()].map((tensor) => () => tensor.free()));
  try {
    for (const part of parts) computePart(api, part, settings, memory, tensors);
  } catch (error) {
    throw afterFreeing(error, free);
  }
  return { values: new Map([...tensors].map(([name, { value }]) => [name, value])), free };
}

/** @param tensors to which the results are added, also if computing them fails */
function computePart(
  api: OrtApi,
  { source, outputs }: ConstantPart,
  settings: SessionSettings,
  memory: Memory,
  tensors: Map<string, DeviceTensor>,
): void {
  scoped((defer) => {
    const session = openPart(api, source, settings);
    defer(() => api.free('Session', session));
    const binding = api.create('CreateIoBinding', session);
    defer(() => api.free('IoBinding', binding));
    const options = api.create('CreateRunOptions');
    defer(() => api.free('RunOptions', options));
    for (const { name, output, type, dims } of outputs) {
      const tensor = memory.allocateInside(type, dims);
      tensors.set(name, tensor);
      api.call('BindOutput', binding, output, tensor.value);
    }
    api.call('RunWithBinding', session, options, binding);
  });
}

function openPart(api: OrtApi, source: Uint8Array, settings: SessionSettings): Pointer {
  return withSessionOptions(api, settings, (options) => {
    api.call('SetSessionGraphOptimizationLevel', options, NO_OPTIMIZATION);
    if (settings.device.kind === 'cuda') appendCuda(api, options, settings.device);
    return api.create('CreateSessionFromArray', api.env, source, source.byteLength, options);
  });
}
