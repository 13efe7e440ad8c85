import { messageOf } from '../../../errors.js';
import { scoped } from '../freeing.js';
import type { OrtApi, Pointer } from '../ortApi.js';
import { ELEMENT_TYPES } from '../tensorMemory.js';

/** An operator that ONNX Runtime does not have. Its inputs are float16. */
export interface CustomOperator {
  readonly name: string;
  /** How many inputs a node must have, and may have. */
  readonly inputs: readonly [least: number, most: number];
  readonly outputs: readonly OperatorOutput[];
  /** Prepares a node's computation, for the time that its session is open. */
  readonly prepare: (attributes: Attributes) => Computation;
}

/** An output of an operator. */
interface OperatorOutput {
  readonly type: 'float16' | 'float32';
  /** Whether a node may leave it out. */
  readonly isOptional?: boolean;
  /** Its shape. Default: unknown until it is computed. @param inputs shapes of those that a node must have */
  readonly shapeOf?: (inputs: readonly (readonly number[])[]) => readonly number[];
}

/** The attributes of a node. */
export interface Attributes {
  readonly integer: (name: string) => number;
  readonly real: (name: string) => number;
}

/**
 * Computes a node's outputs, or tells a GPU to.
 * @param output allocates an output, given its number and its shape
 * @param stream on CUDA, the stream of the session
 */
export type Computation = (
  inputs: readonly Tensor[],
  output: (k: number, dims: readonly number[]) => Tensor,
  stream: Pointer,
) => void;

/** A tensor in the memory of the session's device. An input or output that the node leaves out has no axes and is at address 0. */
export interface Tensor {
  readonly dims: readonly number[];
  readonly address: Pointer;
}

/**
 * The fields of the struct OrtCustomOp, in order: what they return and their parameters. Each parameter is a pointer or as large as
 * one.
 * Source: onnxruntime_c_api.h of ONNX Runtime 1.27.
 */
const FIELDS = [
  ['createKernel', 'void *', 3],
  ['name', 'void *', 1],
  ['provider', 'void *', 1],
  ['inputType', 'int', 2],
  ['inputCount', 'size_t', 1],
  ['outputType', 'int', 2],
  ['outputCount', 'size_t', 1],
  ['compute', 'void', 2],
  ['destroyKernel', 'void', 1],
  ['inputKind', 'int', 2],
  ['outputKind', 'int', 2],
  ['inputMemory', 'int', 2],
  ['leastVariadicInputs', 'int', 1],
  ['variadicInputsAlike', 'int', 1],
  ['leastVariadicOutputs', 'int', 1],
  ['variadicOutputsAlike', 'int', 1],
  ['createKernelV2', 'void *', 4],
  ['computeV2', 'void *', 2],
  ['inferShape', 'void *', 2],
  ['startVersion', 'int', 1],
  ['endVersion', 'int', 1],
  ['mayInplace', 'size_t', 2],
  ['releaseMayInplace', 'void', 2],
  ['aliasMap', 'size_t', 2],
  ['releaseAliasMap', 'void', 2],
] as const;
/** The first version of the API with all of them. */
const STRUCT_VERSION = 18;
/** OrtCustomOpInputOutputCharacteristic. */
const REQUIRED = 0;
const OPTIONAL = 1;
/** The only version of the operators. */
const VERSION = 1;
/** Bytes of a pointer. */
const WORD = 8;

/** A domain of custom operators, which sessions know if their options are given it. It stays for the life of the process. */
export class CustomOperators {
  private readonly domain: Pointer;
  private readonly computations = new Map<Pointer, Computation>();
  private kernels = 0n;

  /**
   * @param provider name of the execution provider that has them; undefined for the CPU's
   * @param version of what their results depend on besides this package
   */
  constructor(
    private readonly api: OrtApi,
    domain: string,
    private readonly provider: string | undefined,
    operators: readonly CustomOperator[],
    readonly version = '',
  ) {
    this.domain = api.create('CreateCustomOpDomain', domain);
    for (const operator of operators) api.call('CustomOpDomain_Add', this.domain, this.structOf(operator));
  }

  /** Makes the operators known to the sessions that are opened with these options. */
  addTo(options: Pointer): void {
    this.api.call('AddCustomOpDomain', options, this.domain);
  }

  private structOf(operator: CustomOperator): Pointer {
    const { koffi } = this.api;
    const callbacks: Partial<Record<(typeof FIELDS)[number][0], Callback>> = this.callbacksOf(operator);
    const address = this.allocate(WORD * (1 + FIELDS.length));
    koffi.encode(address, 'uint32_t', STRUCT_VERSION);
    FIELDS.forEach(([name, result, parameters], k) => {
      const callback = callbacks[name];
      if (!callback) return;
      const type = koffi.proto(result, Array<string>(parameters).fill('size_t'));
      koffi.encode(address, WORD * (k + 1), 'void *', koffi.register(callback, koffi.pointer(type)));
    });
    return address;
  }

  private callbacksOf(operator: CustomOperator) {
    const name = this.text(operator.name);
    const provider = this.provider === undefined ? 0n : this.text(this.provider);
    const nothing = () => undefined;
    return {
      name: () => name,
      provider: () => provider,
      inputType: () => ELEMENT_TYPES.float16,
      inputCount: () => operator.inputs[1],
      outputType: (_: Word, k: Word) => ELEMENT_TYPES[operator.outputs[Number(k)].type],
      outputCount: () => operator.outputs.length,
      destroyKernel: (kernel: Word) => void this.computations.delete(BigInt(kernel)),
      inputKind: (_: Word, k: Word) => (Number(k) < operator.inputs[0] ? REQUIRED : OPTIONAL),
      outputKind: (_: Word, k: Word) => (operator.outputs[Number(k)].isOptional ? OPTIONAL : REQUIRED),
      inputMemory: () => 0,
      createKernelV2: (_: Word, __: Word, info: Word, result: Word) =>
        this.guard(() => {
          this.computations.set(++this.kernels, operator.prepare(this.attributesOf(BigInt(info))));
          this.api.koffi.encode(BigInt(result), 'uint64_t', this.kernels);
        }),
      computeV2: (kernel: Word, context: Word) =>
        this.guard(() => this.compute(operator, BigInt(kernel), BigInt(context))),
      inferShape: (_: Word, context: Word) => this.guard(() => this.inferShape(operator, BigInt(context))),
      startVersion: () => VERSION,
      endVersion: () => VERSION,
      mayInplace: () => 0,
      releaseMayInplace: nothing,
      aliasMap: () => 0,
      releaseAliasMap: nothing,
    };
  }

  private compute(operator: CustomOperator, kernel: Pointer, context: Pointer): void {
    const { api } = this;
    const computation = this.computations.get(kernel);
    if (!computation) throw new Error(`${operator.name} has no kernel ${kernel}`);
    const count = api.count('KernelContext_GetInputCount', context);
    const inputs = Array.from({ length: count }, (_, k) =>
      this.tensorOf(api.find('KernelContext_GetInput', context, k)),
    );
    const output = (k: number, dims: readonly number[]) =>
      this.tensorOf(api.find('KernelContext_GetOutput', context, k, BigInt64Array.from(dims, BigInt), dims.length));
    const stream = this.provider === undefined ? undefined : api.find('KernelContext_GetGPUComputeStream', context);
    computation(inputs, output, stream ?? 0n);
  }

  private tensorOf(value: Pointer | undefined): Tensor {
    const { api } = this;
    if (value === undefined) return { dims: [], address: 0n };
    return scoped((defer) => {
      const info = api.create('GetTensorTypeAndShape', value);
      defer(() => api.free('TensorTypeAndShapeInfo', info));
      return { dims: api.dimensions(info), address: api.create('GetTensorMutableData', value) };
    });
  }

  private inferShape(operator: CustomOperator, context: Pointer): void {
    const { api } = this;
    const inputs = Array.from({ length: operator.inputs[0] }, (_, k) =>
      api.dimensions(api.create('ShapeInferContext_GetInputTypeShape', context, k)),
    );
    // Of free axes nothing is known; of a shape that is not known there are none.
    if (inputs.some((dims) => dims.length === 0 || dims.some((dim) => dim < 0))) return;
    for (const [k, { type, isOptional, shapeOf }] of operator.outputs.entries()) {
      if (!shapeOf) continue;
      const shape = BigInt64Array.from(shapeOf(inputs), BigInt);
      scoped((defer) => {
        const info = api.create('CreateTensorTypeAndShapeInfo');
        defer(() => api.free('TensorTypeAndShapeInfo', info));
        api.call('SetTensorElementType', info, ELEMENT_TYPES[type]);
        api.call('SetDimensions', info, shape, shape.length);
        // ONNX Runtime refuses the shape of an output that the node leaves out.
        api[isOptional ? 'try' : 'call']('ShapeInferContext_SetOutputTypeShape', context, k, info);
      });
    }
  }

  private attributesOf(info: Pointer): Attributes {
    const { api } = this;
    return {
      integer: (name) => {
        const value = new BigInt64Array(1);
        api.call('KernelInfoGetAttribute_int64', info, name, value);
        return Number(value[0]);
      },
      real: (name) => {
        const value = new Float32Array(1);
        api.call('KernelInfoGetAttribute_float', info, name, value);
        return value[0];
      },
    };
  }

  /** Calls a function for ONNX Runtime. @returns the status: 0, or the error */
  private guard(run: () => void): Pointer {
    try {
      run();
      return 0n;
    } catch (error) {
      return this.api.failure(messageOf(error));
    }
  }

  /** Memory that is never freed. */
  private allocate(bytes: number): Pointer {
    const { koffi } = this.api;
    const address = koffi.alloc('uint8_t', bytes) as Pointer;
    new Uint8Array(koffi.view(address, bytes)).fill(0);
    return address;
  }

  private text(value: string): Pointer {
    const bytes = Buffer.from(`${value}\0`);
    const address = this.allocate(bytes.length);
    new Uint8Array(this.api.koffi.view(address, bytes.length)).set(bytes);
    return address;
  }
}

/** A pointer or a size, as koffi gives it to callbacks. */
type Word = number | bigint;
type Callback = (...args: Word[]) => unknown;
