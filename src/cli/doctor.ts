import { availableParallelism, cpus } from 'node:os';
import { Command } from 'commander';
import { CPU, deviceName, type Device } from '../engine/device.js';
import { gpuNames } from '../engine/local/gpuNames.js';
import { probe, type Probe } from '../engine/local/probe.js';
import { oneLine } from '../errors.js';
import { version } from '../version.js';

/** `srds doctor`. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('test each kind of device and explain how to fix those that do not work')
    .option('--json', 'print JSON only')
    .action(async ({ json = false }: { json?: boolean }) => {
      const gpus = await gpuNames();
      const cuda = Array.from({ length: Math.max(1, gpus.length) }, (_, index): Device => ({ kind: 'cuda', index }));
      const probes: Probe[] = [];
      for (const device of [CPU, ...cuda, { kind: 'webgpu', index: 0 } as const]) probes.push(await probe(device));
      const processor = `${availableParallelism()} x ${cpus()[0].model.trim()}`;
      const nameOf = ({ kind, index }: Device) =>
        kind === 'cpu' ? processor : kind === 'cuda' ? gpus[index] : undefined;
      if (json) {
        const devices = probes.map(({ device, problem, withoutGraphs }) => ({
          device: deviceName(device),
          name: nameOf(device) ?? null,
          works: problem === undefined,
          cudaGraphs: device.kind === 'cuda' && !problem ? withoutGraphs === undefined : null,
          withoutCudaGraphs: withoutGraphs ?? null,
          problem: problem?.why ?? null,
          remedy: problem?.remedy ?? null,
        }));
        return void process.stdout.write(`${JSON.stringify({ version: version(), node: process.version, devices })}\n`);
      }
      process.stdout.write(`srds ${version()}, Node ${process.version}\n`);
      for (const probed of probes) {
        const { device } = probed;
        const known = nameOf(device);
        const name = known === undefined ? deviceName(device) : `${deviceName(device)} (${known})`;
        process.stdout.write(`${name}: ${stateOf(probed).join('\n  ')}\n`);
      }
    });
}

/** Whether a device works, and the lines that explain it. */
function stateOf({ device, problem, withoutGraphs }: Probe): string[] {
  if (problem) return ['does not work', problem.why, `-> ${problem.remedy}`];
  if (device.kind !== 'cuda') return ['works'];
  if (withoutGraphs === undefined) return ['works, with CUDA graphs'];
  return ['works, without CUDA graphs: a batch takes up to twice as long', oneLine(withoutGraphs)];
}
