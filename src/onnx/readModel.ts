import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { MessageChannel } from 'node:worker_threads';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, type ModelProto } from 'onnx-buf';

/** Bytes to read at a time: the system reads at most 2 GB in one call. */
const CHUNK_BYTES = 1 << 28;

/** Reads an ONNX file, including the weights in it. @throws Error if the file is not an ONNX model */
export async function readModel(path: string): Promise<ModelProto> {
  return fromBinary(ModelProtoSchema, await readWhole(path));
}

/** Reads a file into a buffer of its own, which `freeBuffer` can free. */
export async function readWhole(path: string): Promise<Buffer<ArrayBuffer>> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const bytes = Buffer.from(new ArrayBuffer(size));
    for (let at = 0; at < size;) {
      const { bytesRead } = await file.read(bytes, at, Math.min(size - at, CHUNK_BYTES), at);
      if (bytesRead === 0) throw new Error('the file became shorter while it was read');
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** Frees the memory of a file at once instead of at the next garbage collection, since a session needs it. */
export async function freeBuffer({ buffer }: Buffer<ArrayBuffer>): Promise<void> {
  // The buffer is transferred with a message that nothing receives.
  const { port1, port2 } = new MessageChannel();
  const closed = once(port1, 'close');
  port1.ref();
  port1.postMessage(undefined, [buffer]);
  port2.close();
  await closed;
}
