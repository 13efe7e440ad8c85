import { InferenceSession } from 'onnxruntime-node';
import { messageOf } from '../../errors.js';
import { lacksKernel } from '../../onnx/foreignOperators.js';
import { failedNode } from '../../onnx/ortMessage.js';
import type { DeviceKind, GraphFile } from '../../onnx/graphInfo.js';
import type { BucketShape, PreparedModel } from '../../onnx/prepare.js';
import type { ProcessSettings } from './protocol.js';
import { providersOf } from './providers.js';

/**
 * Opens a session on a device.
 * @param bucket for a session that takes batches of one size only
 * @throws Error whatever ONNX Runtime reports
 */
export async function openSession(
  { source, weights }: PreparedModel,
  { device, threads }: ProcessSettings,
  bucket?: BucketShape,
): Promise<InferenceSession> {
  const options: InferenceSession.SessionOptions = {
    executionProviders: providersOf(device),
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // On a CPU a planned block is allocated beside the memory of the first run, which stays: twice the memory, and no faster (measured).
    ...(device.kind === 'cpu' && { enableMemPattern: false }),
    logSeverityLevel: 4,
    extra: {
      session: {
        // Idle threads leave their processor to the engine's process, and to other engines.
        'intra_op.allow_spinning': '0',
        model_external_initializers_file_folder_path: weights,
      },
    },
  };
  return InferenceSession.create(source(bucket), options);
}

/** Where precision `auto` may mean half precision. */
const HALF_ON: readonly DeviceKind[] = ['cuda', 'webgpu'];

/** The file to open on a device, with the precision that it has there. */
export function fileFor(given: GraphFile, { device }: Pick<ProcessSettings, 'device'>): GraphFile {
  const { half, precision, halfOn = HALF_ON } = given;
  const wanted = precision === 'auto' && !halfOn.includes(device.kind) ? undefined : precision;
  const wantsHalf = wanted === 'auto' || wanted === 'float16';
  return wantsHalf && half !== undefined
    ? { ...given, path: half, precision: undefined }
    : { ...given, precision: wanted };
}

/** Whether ONNX Runtime or CUDA reports that memory is exhausted. */
export function isOutOfMemory(error: unknown): boolean {
  return /out of memory|failed to allocate|memoryallocation|alloc_failed|bad_alloc|allocation failed/i.test(
    messageOf(error),
  );
}

/** Whether CUDA reports a fault after which the process cannot use the GPU any more. */
export function isDeviceFault(error: unknown): boolean {
  return DEVICE_FAULT.test(messageOf(error));
}

/** The errors of which CUDA says that "the process must be terminated and relaunched" (`cudaError_t`), by their texts. */
const DEVICE_FAULT =
  /illegal memory access|misaligned address|illegal instruction|unspecified launch failure|hardware stack error|device-side assert|launch timed out|not supported on global\/shared address space|invalid program counter|uncorrectable (ECC|NVLink)/i;

/** What CUDA, its libraries or WebGPU report. */
const DEVICE_FAILURE = /CUDA|CUDNN|CUBLAS|CURAND|CUFFT|WebGPU|Vulkan|device lost/i;
/** A kernel's message that it does not support the sizes of an input. It names CUDA, but the device works. */
const KERNEL_LIMIT = / in CUDA does not support /;
/** Calls that CUDA's libraries refuse for the sizes that a node gives them: argument or launch configuration invalid, too many resources. */
const REFUSED_CALL =
  /CUDA failure (?:1|9|701): |CUDNN_STATUS_(?:BAD_PARAM|NOT_SUPPORTED)(?![A-Z_])|CUBLAS_STATUS_(?:INVALID_VALUE|NOT_SUPPORTED)(?![A-Z_])/;

/** Whether a library of CUDA refuses the sizes of a node, which of an operator that an optimizer chose is the graph's fault. */
export function isRefusedCall(error: unknown): boolean {
  return REFUSED_CALL.test(failedNode(messageOf(error))?.why ?? '');
}

/** Whether ONNX Runtime reports that a graph does not run on its inputs, and not that a device fails. */
export function isOfGraph(error: unknown): boolean {
  const message = messageOf(error);
  // Without the path of ONNX Runtime's source, which may have the folder cuda.
  const why = failedNode(message)?.why ?? message;
  if (DEVICE_FAILURE.test(why.replace(KERNEL_LIMIT, ' '))) return lacksKernel(message);
  return (
    lacksKernel(message) ||
    /Non-zero status code returned|invalid dimensions for|Invalid rank for|Unexpected input data type|[Ll]oad model|initialization: |INVALID_GRAPH|INVALID_ARGUMENT|not float32 or uint8$|values for \d+ rows$/.test(
      message,
    )
  );
}
