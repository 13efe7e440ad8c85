import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import type * as Koffi from 'koffi';
import { messageOf } from '../../errors.js';
import { loadKoffi } from '../koffi.js';

/** An address in the memory of this process or of a device. */
export type Pointer = bigint;

/** Version of the C API that this code is written for. Later libraries offer it too, with the same functions at the same places. */
const API_VERSION = 27;

/** A parameter that the function returns a pointer in. */
const OUT = 'out';
const POINTER = 'void *';

/**
 * The functions that are called: their positions in the struct OrtApi, and the types of their parameters. Each returns a status.
 * Source: onnxruntime_c_api.h of ONNX Runtime 1.27.
 */
const FUNCTIONS = {
  CreateEnv: [3, ['int', 'str', OUT]],
  CreateSessionFromArray: [8, [POINTER, POINTER, 'size_t', POINTER, OUT]],
  CreateSessionOptions: [10, [OUT]],
  SetSessionLogSeverityLevel: [22, [POINTER, 'int']],
  SetSessionGraphOptimizationLevel: [23, [POINTER, 'int']],
  SetIntraOpNumThreads: [24, [POINTER, 'int']],
  SetInterOpNumThreads: [25, [POINTER, 'int']],
  CreateCustomOpDomain: [26, ['str', OUT]],
  CustomOpDomain_Add: [27, [POINTER, POINTER]],
  AddCustomOpDomain: [28, [POINTER, POINTER]],
  CreateRunOptions: [39, [OUT]],
  CreateTensorWithDataAsOrtValue: [49, [POINTER, POINTER, 'size_t', 'int64_t *', 'size_t', 'int', OUT]],
  GetTensorMutableData: [51, [POINTER, OUT]],
  CreateTensorTypeAndShapeInfo: [57, [OUT]],
  SetTensorElementType: [58, [POINTER, 'int']],
  SetDimensions: [59, [POINTER, 'int64_t *', 'size_t']],
  GetTensorElementType: [60, [POINTER, 'int *']],
  GetDimensionsCount: [61, [POINTER, 'size_t *']],
  GetDimensions: [62, [POINTER, 'int64_t *', 'size_t']],
  GetTensorTypeAndShape: [65, [POINTER, OUT]],
  CreateMemoryInfo: [68, ['str', 'int', 'int', 'int', OUT]],
  AllocatorFree: [76, [POINTER, POINTER]],
  GetAllocatorWithDefaultOptions: [78, [OUT]],
  KernelInfoGetAttribute_float: [85, [POINTER, 'str', 'float *']],
  KernelInfoGetAttribute_int64: [86, [POINTER, 'str', 'int64_t *']],
  KernelContext_GetInputCount: [88, [POINTER, 'size_t *']],
  KernelContext_GetInput: [90, [POINTER, 'size_t', OUT]],
  KernelContext_GetOutput: [91, [POINTER, 'size_t', 'int64_t *', 'size_t', OUT]],
  AddSessionConfigEntry: [130, [POINTER, 'str', 'str']],
  RunWithBinding: [133, [POINTER, POINTER, POINTER]],
  CreateIoBinding: [134, [POINTER, OUT]],
  BindInput: [136, [POINTER, 'str', POINTER]],
  BindOutput: [137, [POINTER, 'str', POINTER]],
  BindOutputToDevice: [138, [POINTER, 'str', POINTER]],
  GetBoundOutputValues: [140, [POINTER, POINTER, OUT, 'size_t *']],
  AddInitializer: [150, [POINTER, 'str', POINTER]],
  AddRunConfigEntry: [165, [POINTER, 'str', 'str']],
  KernelContext_GetGPUComputeStream: [193, [POINTER, OUT]],
  SessionOptionsAppendExecutionProvider_CUDA_V2: [204, [POINTER, POINTER]],
  CreateCUDAProviderOptions: [205, [OUT]],
  UpdateCUDAProviderOptions: [206, [POINTER, 'const char **', 'const char **', 'size_t']],
  ShapeInferContext_GetInputTypeShape: [268, [POINTER, 'size_t', OUT]],
  ShapeInferContext_SetOutputTypeShape: [270, [POINTER, 'size_t', POINTER]],
  SessionReleaseCapturedGraph: [421, [POINTER, 'int']],
} as const satisfies Record<string, readonly [number, readonly string[]]>;

/** Functions that free an object: their positions. */
const RELEASES = {
  MemoryInfo: 94,
  Session: 95,
  Value: 96,
  RunOptions: 97,
  TensorTypeAndShapeInfo: 99,
  SessionOptions: 100,
  IoBinding: 135,
  CUDAProviderOptions: 208,
} as const;

const CREATE_STATUS = 0;
const GET_ERROR_MESSAGE = 2;
const RELEASE_STATUS = 93;
const TABLE_LENGTH = 1 + Math.max(...Object.values(FUNCTIONS).map(([at]) => at), ...Object.values(RELEASES));

type FunctionName = keyof typeof FUNCTIONS;
type Argument = Pointer | number | string | null | ArrayBufferView | readonly string[] | [null];

/**
 * The C API of the ONNX Runtime library that onnxruntime-node ships. Unlike that package, it takes all options of the CUDA
 * provider, CUDA graphs among them, and tensors in a device's memory.
 */
export class OrtApi {
  /** Version of the ONNX Runtime library. */
  readonly version: string;
  readonly env: Pointer;
  private readonly types = new Map<FunctionName, Koffi.TypeObject>();
  private readonly release: Koffi.TypeObject;
  private readonly message: Koffi.TypeObject;

  /** Addresses of the functions. */
  private readonly table: readonly Pointer[];

  /** @param library kept, since a library is unloaded when its handle is collected */
  private constructor(
    readonly koffi: typeof Koffi,
    readonly library: Koffi.LibraryHandle,
  ) {
    const [getApi, getVersion] = koffi.decode(
      library.func('OrtGetApiBase', POINTER, [])(),
      koffi.array(POINTER, 2),
    ) as Pointer[];
    this.version = String(koffi.call(getVersion, koffi.proto('str', [])));
    const found = koffi.call(getApi, koffi.proto(POINTER, ['uint32_t']), API_VERSION) as Pointer | null;
    if (!found) throw new Error(`ONNX Runtime ${this.version} does not offer version ${API_VERSION} of its C API`);
    this.release = koffi.proto('void', [POINTER]);
    this.message = koffi.proto('str', [POINTER]);
    this.table = koffi.decode(found, koffi.array(POINTER, TABLE_LENGTH)) as Pointer[];
    this.env = this.create('CreateEnv', LOG_FATAL, 'srds');
  }

  /** @throws Error that says why the API cannot be used on this machine */
  static async load(): Promise<OrtApi> {
    const path = libraryPath();
    if (path === undefined) throw new Error(`the C API is not used on ${platform()} ${arch()}`);
    const koffi = await loadKoffi().catch((error: unknown) => {
      throw new Error(`the optional package koffi cannot be used (${messageOf(error)})`);
    });
    return new OrtApi(koffi, koffi.load(path));
  }

  /** Calls a function. @throws Error with the message of its status */
  call(name: FunctionName, ...args: readonly Argument[]): void {
    const status = this.koffi.call(this.table[FUNCTIONS[name][0]], this.typeOf(name), ...args) as Pointer | null;
    if (!status) return;
    const message = String(this.koffi.call(this.table[GET_ERROR_MESSAGE], this.message, status));
    this.koffi.call(this.table[RELEASE_STATUS], this.release, status);
    throw new Error(message);
  }

  /** Calls a function whose failure does not matter. */
  try(name: FunctionName, ...args: readonly Argument[]): void {
    try {
      this.call(name, ...args);
    } catch {
      // Its message would say nothing that a caller could act on.
    }
  }

  /** Calls a function that returns a pointer in one of its parameters. @param args the others @returns that pointer */
  create(name: FunctionName, ...args: readonly Argument[]): Pointer {
    const pointer = this.find(name, ...args);
    if (pointer === undefined) throw new Error(`${name} returned no object`);
    return pointer;
  }

  /** As `create`, for a function that may find nothing. */
  find(name: FunctionName, ...args: readonly Argument[]): Pointer | undefined {
    const result: [Pointer | null] = [null];
    const parameters: readonly string[] = FUNCTIONS[name][1];
    this.call(name, ...args.toSpliced(parameters.indexOf(OUT), 0, result as [null]));
    return result[0] ?? undefined;
  }

  /** Calls a function that returns a number in its last parameter. */
  count(name: FunctionName, ...args: readonly Argument[]): number {
    const result = BigUint64Array.of(0n);
    this.call(name, ...args, result);
    return Number(result[0]);
  }

  /** The lengths of the axes that an OrtTensorTypeAndShapeInfo describes; -1 where one is free. */
  dimensions(info: Pointer): readonly number[] {
    const dims = new BigInt64Array(this.count('GetDimensionsCount', info));
    this.call('GetDimensions', info, dims, dims.length);
    return Array.from(dims, Number);
  }

  /** A status that says why a function that ONNX Runtime called has failed. */
  failure(message: string): Pointer {
    return this.koffi.call(
      this.table[CREATE_STATUS],
      this.koffi.proto(POINTER, ['int', 'str']),
      FAIL,
      message,
    ) as Pointer;
  }

  /** Frees an object. */
  free(kind: keyof typeof RELEASES, object: Pointer): void {
    this.koffi.call(this.table[RELEASES[kind]], this.release, object);
  }

  /** The pointer at an address. */
  pointerAt(address: Pointer): Pointer {
    return this.koffi.decode(address, POINTER) as Pointer;
  }

  private typeOf(name: FunctionName): Koffi.TypeObject {
    const known = this.types.get(name);
    if (known) return known;
    const { koffi } = this;
    const parameters = FUNCTIONS[name][1].map((type) => (type === OUT ? koffi.out(koffi.pointer(POINTER)) : type));
    const type = koffi.proto(POINTER, parameters);
    this.types.set(name, type);
    return type;
  }
}

/** ORT_FAIL. */
const FAIL = 1;
/** ORT_LOGGING_LEVEL_FATAL: errors are reported by status. */
export const LOG_FATAL = 4;

/** Path of the library that onnxruntime-node has loaded; undefined where the C API has not been tried. */
function libraryPath(): string | undefined {
  if (platform() !== 'linux') return undefined;
  const folder = join(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'), '..');
  const path = join(folder, 'bin', 'napi-v6', platform(), arch(), 'libonnxruntime.so.1');
  return existsSync(path) ? path : undefined;
}
