import { z } from 'zod';
import { option, type Options, type OptionValues } from './option.js';

/** Where a model runs, and how: the options of every command that opens one, and of the server. */
export const DEVICE_OPTIONS = {
  device: option(z.string().min(1), {
    description:
      'cpu, cuda, cuda:1, webgpu, oip+http://host:8000/unet for a network on a server, several with commas, or auto',
    default: 'cpu',
    placeholder: '<names>',
  }),
  precision: option(z.enum(['auto', 'float32', 'float16']), {
    description:
      'precision of the denoising network; auto takes that of the weights on GPUs, and float32 on the CPU. With float32 the VAE decodes in it too',
    default: 'auto',
  }),
  buckets: option(z.array(z.int().positive()).readonly(), {
    description: 'sizes that batches are padded to, in rows, with commas',
    default: [],
    defaultText: '1,2,4,6,8,12,16,24,32,48,64,96,128 on GPUs',
    placeholder: '<rows>',
  }),
  fused: option(z.boolean(), {
    description: 'fuse operators in the graphs of buckets, which is faster',
    offDescription: 'run the graphs of buckets with the operators that they were exported with, which is slower',
    default: true,
  }),
  cudaGraphs: option(z.boolean(), {
    description: 'replay batches as CUDA graphs, which is faster',
    offDescription: 'launch the kernels of each batch one by one, which is slower',
    default: true,
  }),
  threads: option(z.int().positive(), {
    description: 'threads of each process on the CPU',
    defaultText: 'all processors',
  }),
  workers: option(z.int().positive(), { description: 'processes on the CPU', defaultText: '1' }),
  endpointToken: option(
    z
      .string()
      .trim()
      .regex(/^[!-~]+$/, 'expected visible ASCII characters'),
    {
      description:
        'bearer token for endpoints, without a flag because other users of a machine see the flags of its processes',
      expected: 'a token',
      commandLine: false,
      secret: true,
    },
  ),
  endpointHeaders: option(
    z.array(z.string().regex(/^[!#$%&'*+.^_`|~\w-]+:[\t -~]*$/, 'expected name: value')).readonly(),
    {
      description: 'further header of requests to endpoints, such as "x-team: images"',
      expected: 'headers such as "x-team: images"',
      flag: 'endpoint-header',
      default: [],
      defaultText: 'none',
      placeholder: '<name: value>',
      secret: true,
    },
  ),
  endpointCa: option(z.string().min(1), {
    description: 'PEM file of the authorities that certificates of endpoints are checked against',
    defaultText: "Node's",
    placeholder: '<file>',
  }),
  endpointInFlight: option(z.int().min(1).max(256), {
    description: 'batches that each endpoint runs at once',
    defaultText: 'one for each instance of the model that the server reports',
  }),
  endpointBatching: option(z.enum(['auto', 'explicit', 'single']), {
    description:
      'send the rows of a batch to endpoints in one request, or in one each for servers that make batches; auto measures',
    default: 'auto',
  }),
  hedge: option(z.number().min(1).max(1000), {
    description: "multiple of a batch's usual time after which a second free endpoint runs it too",
    defaultText: 'never',
  }),
} satisfies Options;

export type DeviceValues = OptionValues<typeof DEVICE_OPTIONS>;
