import type * as Koffi from 'koffi';
import { pointerFrom, type NativeFunction } from '../../koffi.js';
import type { CudaRuntime } from '../cudaRuntime.js';
import type { Pointer } from '../ortApi.js';
import { KERNEL_SOURCE } from './source.js';

/** How to start a kernel. */
interface LaunchSettings {
  /** Values of a tensor that a thread moves at once. */
  readonly halves: number;
  readonly blocks: readonly [x: number, y: number];
  readonly threads: number;
  readonly stream: Pointer;
  /** The fields of the struct that the kernel takes. */
  readonly parameters: readonly Parameter[];
}

/** A field of a struct. */
export type Parameter = readonly ['pointer', bigint] | readonly ['long' | 'int' | 'float', number];

/** Starts a kernel, given its name. @throws Error that the compiler or the driver reports */
export type Launch = (kernel: string, settings: LaunchSettings) => void;

const DRIVER = 'libcuda.so.1';
/** Bytes of the largest struct of parameters. */
const PARAMETER_BYTES = 256;
const WORD = 8;

/**
 * The kernels of `source.ts`. They are compiled for a GPU when they are first started, and stay in the context of this thread for the
 * life of the process.
 */
export class CudaKernels {
  /** By name and by how many values a thread moves. */
  private readonly functions = new Map<string, Pointer>();
  private readonly modules = new Map<number, Pointer>();
  private readonly struct: DataView;
  /** An array with the address of the struct. */
  private readonly parameters: Pointer;
  private readonly driver: Readonly<Record<'load' | 'find' | 'launch' | 'text', NativeFunction>>;
  /** Kept, since a library is unloaded when its handle is collected. */
  private readonly libraries: readonly Koffi.LibraryHandle[];

  /**
   * @param runtime of the GPU; its library stays loaded too
   * @throws Error that says which library is missing
   */
  constructor(
    private readonly koffi: typeof Koffi,
    private readonly runtime: CudaRuntime,
  ) {
    const driver = koffi.load(DRIVER);
    // cuDNN needs the compiler too, so that it is where ONNX Runtime runs.
    this.libraries = [compiler(koffi, runtime.major), driver];
    const out = koffi.out(koffi.pointer('void *'));
    const [pointer, sizes] = ['void *', Array<string>(7).fill('uint')];
    this.driver = {
      load: driver.func('cuModuleLoadData', 'int', [out, pointer]),
      find: driver.func('cuModuleGetFunction', 'int', [out, pointer, 'str']),
      launch: driver.func('cuLaunchKernel', 'int', [pointer, ...sizes, pointer, pointer, pointer]),
      text: driver.func('cuGetErrorString', 'int', ['int', koffi.out(koffi.pointer('str'))]),
    };
    const struct = koffi.alloc('uint8_t', PARAMETER_BYTES) as Pointer;
    this.struct = new DataView(koffi.view(struct, PARAMETER_BYTES));
    this.parameters = koffi.alloc('void *', 1) as Pointer;
    koffi.encode(this.parameters, 'void *', struct);
  }

  /** Version of the compiler. */
  get version(): string {
    const [major, minor] = [Int32Array.of(0), Int32Array.of(0)];
    (this.libraries[0].func('nvrtcVersion', 'int', ['int *', 'int *']) as NativeFunction)(major, minor);
    return `${major[0]}.${minor[0]}`;
  }

  readonly launch: Launch = (name, { halves, blocks: [x, y], threads, stream, parameters }) => {
    const kernel = this.functionOf(name, halves);
    let at = 0;
    for (const parameter of parameters) at = write(this.struct, at, parameter);
    this.check(name, this.driver.launch(kernel, x, y, 1, threads, 1, 1, 0, stream, this.parameters, null));
  };

  private functionOf(name: string, halves: number): Pointer {
    const key = `${name} ${halves}`;
    const known = this.functions.get(key);
    if (known !== undefined) return known;
    const module = this.modules.get(halves) ?? this.compile(halves);
    const found = pointerFrom((result) => this.check(name, this.driver.find(result, module, name)));
    this.functions.set(key, found);
    return found;
  }

  private compile(halves: number): Pointer {
    const code = compileKernels(this.koffi, this.libraries[0], this.runtime.capability, halves);
    const module = pointerFrom((result) => this.check('loading kernels', this.driver.load(result, code)));
    this.modules.set(halves, module);
    return module;
  }

  private check(what: string, error: unknown): void {
    if (error === 0) return;
    const text: [string | null] = [null];
    this.driver.text(error, text);
    throw new Error(`CUDA: ${what} failed: ${text[0] ?? String(error)}`);
  }
}

/** Writes a field of a struct, aligned to its size. @returns the position after it */
function write(struct: DataView, from: number, [type, value]: Parameter): number {
  const size = type === 'pointer' || type === 'long' ? WORD : WORD / 2;
  const at = Math.ceil(from / size) * size;
  if (type === 'float') struct.setFloat32(at, value, true);
  else if (type === 'int') struct.setInt32(at, value, true);
  else struct.setBigInt64(at, BigInt(value), true);
  return at + size;
}

/**
 * Compiles the kernels.
 * @param library NVRTC
 * @param capability of the GPU, major and minor
 * @param halves values that a thread moves at once
 * @returns machine code
 * @throws Error with the compiler's error
 */
export function compileKernels(
  koffi: typeof Koffi,
  library: Koffi.LibraryHandle,
  capability: readonly number[],
  halves: number,
): Uint8Array {
  const options = [`--gpu-architecture=sm_${capability.join('')}`, `--define-macro=HALVES=${halves}`, '--std=c++17'];
  const [pointer, out] = ['void *', koffi.out(koffi.pointer('void *'))];
  const call = (name: string, parameters: Parameters<typeof library.func>[3], ...args: readonly unknown[]): void => {
    const error = (library.func(`nvrtc${name}`, 'int', parameters) as NativeFunction)(...args);
    if (error === 0) return;
    const text = String((library.func('nvrtcGetErrorString', 'str', ['int']) as NativeFunction)(error));
    // `isOutOfMemory` looks for these words.
    const why = /OUT_OF_MEMORY/.test(text) ? `out of memory (${text})` : text;
    throw new Error(`NVRTC: ${name} failed: ${why} (${options.join(' ')})`);
  };
  const program = pointerFrom((result) =>
    call(
      'CreateProgram',
      [out, 'str', 'str', 'int', pointer, pointer],
      result,
      KERNEL_SOURCE,
      'srds.cu',
      0,
      null,
      null,
    ),
  );
  try {
    call('CompileProgram', [pointer, 'int', 'const char **'], program, options.length, options);
    const size = BigUint64Array.of(0n);
    call('GetCUBINSize', [pointer, 'size_t *'], program, size);
    const code = new Uint8Array(Number(size[0]));
    call('GetCUBIN', [pointer, pointer], program, code);
    return code;
  } finally {
    call('DestroyProgram', [koffi.inout(koffi.pointer('void *'))], [program]);
  }
}

/** @param major version of the CUDA runtime: the driver may be too old for the code of a later compiler */
function compiler(koffi: typeof Koffi, major: number): Koffi.LibraryHandle {
  const name = `libnvrtc.so.${major}`;
  try {
    return koffi.load(name);
  } catch {
    throw new Error(`NVIDIA's runtime compiler ${name} is missing`);
  }
}
