import { availableParallelism, cpus } from 'node:os';
import { Command } from 'commander';
import { CPU, deviceName, isEndpoint, isProcessor, type Device, type Processor } from '../engine/device.js';
import { gpuNames } from '../engine/local/gpuNames.js';
import { probe, type Probe } from '../engine/local/probe.js';
import { endpointName } from '../engine/remote/endpoint.js';
import { inspectEndpoint, type EndpointReport } from '../engine/remote/inspectEndpoint.js';
import type { TensorMetadata } from '../engine/remote/oip.js';
import { oneLine, plural, SrdsError } from '../errors.js';
import { graphFiles } from '../model/modelFolder.js';
import { networkOf } from '../model/networkInputs.js';
import { DEVICE_OPTIONS, type DeviceValues } from '../pipeline/options/devices.js';
import { version } from '../version.js';
import { splitDeviceFlags } from './devices.js';
import { findModel } from './model.js';
import { addFlags } from './optionFlags.js';
import { warn } from './progress.js';

const { device, endpointHeaders, endpointCa } = DEVICE_OPTIONS;
const OPTIONS = {
  device: { ...device, default: undefined, defaultText: 'each kind of this machine' },
  endpointHeaders,
  endpointCa,
};

interface Flags extends Pick<DeviceValues, 'device' | 'endpointHeaders' | 'endpointCa'> {
  readonly model?: string;
  readonly json?: boolean;
}

/** `srds doctor`. @param signal aborts downloading a model */
export function doctorCommand(signal: AbortSignal): Command {
  const command = new Command('doctor')
    .description('test devices, say what endpoints serve, and explain how to fix those that do not work')
    .option('--model <folder>', 'model whose network endpoints should serve (default: the bundled model)')
    .option('--json', 'print JSON only');
  return addFlags(command, OPTIONS).action(async ({ json = false, ...flags }: Flags) => {
    const { open, others } = await splitDeviceFlags(flags);
    const gpus = await gpuNames();
    const named = open.devices === 'auto' ? undefined : open.devices;
    const wanted = named ?? everyKind(gpus);
    const probes: Probe[] = [];
    for (const processor of wanted.filter(isProcessor)) {
      const probed = await probe(processor, true);
      // Ctrl-C ends the device's process too.
      signal.throwIfAborted();
      probes.push(probed);
    }
    const endpoints = wanted.filter(isEndpoint);
    if (endpoints.length === 0 && others.model !== undefined) {
      warn('--model does nothing without an endpoint in --device', undefined);
    }
    const reports: EndpointReport[] = [];
    if (endpoints.length > 0) {
      const model = await findModel(others.model, { progress: undefined, verbose: !json, signal });
      const { graph, inputs } = networkOf(model);
      const file = graphFiles(model)[graph];
      reports.push(
        ...(await Promise.all(endpoints.map((one) => inspectEndpoint(one, open.endpoints ?? {}, { file, inputs })))),
      );
    }
    const processor = `${availableParallelism()} x ${cpus()[0].model.trim()}`;
    const nameOf = ({ kind, index }: Processor) =>
      kind === 'cpu' ? processor : kind === 'cuda' ? gpus[index] : undefined;
    if (json) {
      const devices = probes.map((one) => probeJson(one, nameOf(one.device)));
      const all = { version: version(), node: process.version, devices, endpoints: reports.map(endpointJson) };
      process.stdout.write(`${JSON.stringify(all)}\n`);
    } else {
      process.stdout.write(`srds ${version()}, Node ${process.version}\n`);
      for (const probed of probes) {
        const known = nameOf(probed.device);
        const name = known === undefined ? deviceName(probed.device) : `${deviceName(probed.device)} (${known})`;
        process.stdout.write(`${name}: ${stateOf(probed).join('\n  ')}\n`);
      }
      for (const report of reports) {
        process.stdout.write(`${endpointName(report.endpoint)}: ${endpointState(report).join('\n  ')}\n`);
      }
    }
    // Of devices that are not named, some are missing on most machines.
    if (named) checkAll(probes, reports);
  });
}

/** @throws SrdsError DEVICE_UNAVAILABLE if any of them does not work */
function checkAll(probes: readonly Probe[], reports: readonly EndpointReport[]): void {
  const broken = [
    ...probes.filter(({ problem }) => problem).map(({ device }) => deviceName(device)),
    ...reports.filter(({ problem }) => problem).map(({ endpoint }) => endpointName(endpoint)),
  ];
  if (broken.length === 0) return;
  const found = `${broken.join(' and ')} that ${broken.length > 1 ? 'do' : 'does'} not`;
  throw new SrdsError('DEVICE_UNAVAILABLE', 'devices that work', found, 'the report says what to do');
}

/** A device of each kind, and all GPUs of NVIDIA. */
function everyKind(gpus: readonly string[]): readonly Device[] {
  const cuda = Array.from({ length: Math.max(1, gpus.length) }, (_, index): Processor => ({ kind: 'cuda', index }));
  return [CPU, ...cuda, { kind: 'webgpu', index: 0 }];
}

function probeJson({ device, problem, slower }: Probe, name: string | undefined) {
  const works = device.kind === 'cuda' && !problem;
  return {
    device: deviceName(device),
    name: name ?? null,
    works: problem === undefined,
    cudaGraphs: works ? slower?.without !== 'CUDA graphs' : null,
    withoutCudaGraphs: slower?.without === 'CUDA graphs' ? slower.why : null,
    fusedKernels: works ? slower === undefined : null,
    withoutFusedKernels: slower?.without === 'fused kernels' ? slower.why : null,
    problem: problem?.why ?? null,
    remedy: problem?.remedy ?? null,
  };
}

function endpointJson({ endpoint, server, metadata, model, roundTrip, problem }: EndpointReport) {
  return {
    device: endpointName(endpoint),
    server: server ?? null,
    metadata: metadata ?? null,
    works: problem === undefined,
    maxRows: model?.maxRows ?? null,
    batchesRequests: model?.batchesRequests ?? null,
    priorityLevels: model?.priorityLevels ?? null,
    instances: model?.instances ?? null,
    roundTripMs: roundTrip ?? null,
    problem: problem?.why ?? null,
    remedy: problem?.remedy ?? null,
  };
}

/** Whether a device works, and the lines that explain it. */
function stateOf({ device, problem, slower }: Probe): string[] {
  if (problem) return ['does not work', problem.why, `-> ${problem.remedy}`];
  if (device.kind !== 'cuda') return ['works'];
  if (!slower) return ['works, with CUDA graphs and fused kernels'];
  const { without, why } = slower;
  const others = without === 'fused kernels' ? 'with CUDA graphs, ' : '';
  return [`works, ${others}without ${without}: a batch takes up to twice as long`, oneLine(why)];
}

/** Whether an endpoint can be used, and what it serves. */
function endpointState({ endpoint, server, metadata, model, roundTrip = 0, problem }: EndpointReport): string[] {
  const serves = metadata
    ? [
        `${[server?.name, server?.version].filter(Boolean).join(' ') || 'its server'} serves ${endpoint.model}` +
          (metadata.platform === '' ? '' : ` (${metadata.platform})`),
        `inputs ${metadata.inputs.map(tensorText).join(', ')}; outputs ${metadata.outputs.map(tensorText).join(', ')}`,
      ]
    : [];
  if (problem || !model) return ['does not work', ...serves, oneLine(problem?.why ?? ''), `-> ${problem?.remedy}`];
  const { maxRows, instances, batchesRequests, priorityLevels } = model;
  const facts = [
    `batches of up to ${plural(maxRows, 'row')}`,
    instances > 0 ? plural(instances, 'instance') : 'instances unknown',
    batchesRequests ? 'batches requests' : 'does not batch requests',
    priorityLevels > 0 ? `${priorityLevels} levels of priority` : 'no priorities',
    `round trip ${roundTrip.toFixed(1)} ms`,
  ];
  return ['works, and fits the model', ...serves, facts.join(', ')];
}

function tensorText({ name, datatype, shape }: TensorMetadata): string {
  return `${name} ${datatype} [${shape.map((length) => (length < 0 ? 'any' : length)).join(', ')}]`;
}
