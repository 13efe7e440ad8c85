import { SrdsError } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import { elementBytes, outputData, type OutputType } from '../bucketSession.js';
import { batchRows, rowsOf, type Batch, type OutputRow } from '../engine.js';
import type { WireBatch } from './protocol.js';
import { CONTENT_START, type SharedChannel } from './sharedChannel.js';

/**
 * Writes the tensors of a batch to the channel.
 * @returns the batch, and the position after its tensors
 * @throws SrdsError ENGINE_FAILED if the evaluations differ in their inputs' types or shapes
 */
export function writeBatch(batch: Batch, channel: SharedChannel): { readonly wire: WireBatch; readonly end: number } {
  let end = CONTENT_START;
  const inputs = Object.entries(batch[0].inputs).map(([name, { type, dims }]) => {
    const at = end;
    const shape = dims.join();
    const rows = batch.map(({ inputs }) => {
      const tensor = (inputs as Readonly<Partial<Record<string, Tensor>>>)[name];
      if (tensor?.type !== type || tensor.dims.join() !== shape) throw differ(name);
      return tensor.data;
    });
    end = channel.write(rows, at);
    return { name, type, dims, at };
  });
  const [{ graph, output }] = batch;
  return { wire: { graph, output, inputs, conditioning: batch.map(({ conditioning }) => conditioning ?? null) }, end };
}

/** Reads the output rows of a batch, [evaluation][row]. @param size elements of a row @param type of an element */
export function readOutputs(
  batch: Batch,
  { size, type }: { readonly size: number; readonly type: OutputType },
  channel: SharedChannel,
): OutputRow[][] {
  // One allocation: the pages of one for each row would cost more than the copy.
  const all = outputData(type, uninitialized(size * batchRows(batch) * elementBytes(type)));
  channel.read([all], CONTENT_START);
  let at = 0;
  return batch.map((evaluation) => Array.from({ length: rowsOf(evaluation) }, () => all.subarray(at, (at += size))));
}

/** Memory that is about to be overwritten: zeroing it first would take as long again. */
function uninitialized(bytes: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(bytes).buffer;
}

function differ(name: string): SrdsError {
  const expected = 'evaluations of a batch with inputs of equal type and shape';
  return new SrdsError('ENGINE_FAILED', expected, `rows of ${name} differ in shape`, 'report this as a defect');
}
