import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** GPUs that NVIDIA's driver lists, with their memory; empty without a driver. */
export async function gpuNames(): Promise<string[]> {
  const query = ['--query-gpu=name,memory.total', '--format=csv,noheader'];
  const { stdout } = await promisify(execFile)('nvidia-smi', query).catch(() => ({ stdout: '' }));
  return stdout.split('\n').filter((line) => line !== '');
}
