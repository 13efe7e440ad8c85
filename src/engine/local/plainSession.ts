import { Tensor as OrtTensor, type InferenceSession } from 'onnxruntime-node';
import { sizeOf } from '../../tensor/tensor.js';
import type { OutputRow } from '../engine.js';
import { elementBytes, inputData, type BucketSession, type InputData } from '../bucketSession.js';

/** A bucket's session in onnxruntime-node. */
export class PlainSession implements BucketSession {
  private readonly feeds: Record<string, OrtTensor> = {};
  private output: OrtTensor | undefined;

  /** @param owned whether the session is the bucket's own, so that it ends with it */
  constructor(
    private readonly session: InferenceSession,
    private readonly owned: boolean,
  ) {}

  allocate(name: string, type: string, shape: readonly number[]): InputData {
    const data = inputData(name, type, new ArrayBuffer(sizeOf(shape) * elementBytes(type)));
    this.feeds[name] = new OrtTensor(type as 'float32', data as Float32Array, shape);
    return data;
  }

  async run(name: string): Promise<OutputRow> {
    const results = this.output
      ? await this.session.run(this.feeds, { [name]: this.output })
      : await this.session.run(this.feeds, [name]);
    const { data, type } = (this.output = results[name]);
    if (data instanceof Float32Array || data instanceof Uint8Array) return data;
    throw new Error(`output ${name} is ${type}, not float32 or uint8`);
  }

  async close(): Promise<void> {
    if (this.owned) await this.session.release();
  }
}
