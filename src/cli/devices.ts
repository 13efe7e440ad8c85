import { Option, type Command } from 'commander';
import { parseDevices, type Device, type Precision } from '../pipeline/devices.js';
import type { OpenOptions } from '../pipeline/pipeline.js';
import { list, whole } from './values.js';

/** Options of commands that run a model, as commander parses them. */
export interface DeviceFlags {
  device?: readonly Device[] | 'auto';
  precision?: Precision | 'auto';
  buckets?: readonly number[];
  /** Commander's own name for --no-fused. */
  fused?: boolean;
  threads?: number;
  workers?: number;
}

/** Adds them to a command. */
export function addDeviceOptions(command: Command): Command {
  return command
    .option('--device <names>', 'cpu, cuda, cuda:1, webgpu, several with commas, or auto (default: cpu)', parseDevices)
    .addOption(
      new Option('--precision <name>', 'of the UNet (default: auto, on GPUs as the weights are stored)').choices([
        'auto',
        'float32',
        'float16',
      ]),
    )
    .option(
      '--buckets <rows>',
      'sizes that batches are filled up to, in rows, with commas (default: 1,2,8,16,24,32,48,64,96,128 on GPUs)',
      list('--buckets'),
    )
    .option('--no-fused', 'run graphs in buckets as they were exported, which takes longer')
    .option('--threads <n>', 'threads of each process on the CPU (default: all processors)', whole('--threads'))
    .option('--workers <n>', 'processes on the CPU (default: 1)', whole('--workers'));
}

/** The options of opening a pipeline, and the rest. */
export function splitDeviceFlags<Flags extends DeviceFlags>(
  flags: Flags,
): {
  readonly open: Pick<OpenOptions, 'devices' | (keyof DeviceFlags & keyof OpenOptions)>;
  readonly others: Omit<Flags, keyof DeviceFlags>;
} {
  const { device: devices, precision, buckets, fused, threads, workers, ...others } = flags;
  return { open: { devices, precision, buckets, fused, threads, workers }, others };
}
