import { after } from 'node:test';
import { Pipeline } from 'srds';

/** Pipelines by folder, the least recently used one first. */
const opened = new Map<string | undefined, Promise<Pipeline>>();
const MOST = 5;
const close = async (pipeline: Promise<Pipeline> | undefined) => (await pipeline?.catch(() => undefined))?.close();
after(() => Promise.all([...opened.values()].map(close)));

/**
 * The pipeline of a model folder, shared by the tests of a file that only generate. It is closed after these tests, or once
 * five others were used since.
 * @param folder default: the bundled model
 */
export async function sharedPipeline(folder?: string): Promise<Pipeline> {
  const pipeline = opened.get(folder) ?? Pipeline.open(folder);
  opened.delete(folder);
  opened.set(folder, pipeline);
  for (const [other, old] of [...opened].slice(0, -MOST)) {
    opened.delete(other);
    await close(old);
  }
  return pipeline;
}
