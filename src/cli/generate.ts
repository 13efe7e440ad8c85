import { Command, Option } from 'commander';
import {
  PREDICTIONS,
  SAMPLER_CHOICES,
  SOLVERS,
  SPACINGS,
  type Correction,
  type PredictionType,
  type SamplerName,
} from '../pipeline/options.js';
import type { SolverName, TimestepSpacing } from '../pipeline/options.js';
import { asksToRefine } from '../pipeline/ignoredOptions.js';
import type { Partition } from '../sampler/partition.js';
import { runGenerate } from './runGenerate.js';
import { differenceToSerial, jsonReport, summary } from './report.js';
import { addDeviceOptions, splitDeviceFlags, type DeviceFlags } from './devices.js';
import { blocks, decimal, seed, size, whole } from './values.js';

/** Options of `srds generate`, as commander parses them; what is not given is not there. */
interface Flags extends DeviceFlags {
  model?: string;
  steps?: number;
  sampler?: SamplerName | 'auto';
  correction?: Correction;
  pipelined?: boolean;
  blocks?: number | Partition;
  tolerance?: number;
  maxIterations?: number;
  window?: number;
  history?: number;
  order?: number;
  solver?: SolverName;
  eta?: number;
  spacing?: TimestepSpacing;
  prediction?: PredictionType;
  guidance?: number;
  guidanceRescale?: number;
  noise?: string;
  init?: string;
  strength?: number;
  lowMemory?: boolean;
  negativePrompt?: string;
  seed?: bigint;
  n?: number;
  size?: { width: number; height: number };
  out?: string;
  previews?: string;
  latents?: string;
  trace?: string;
  compare?: boolean;
  json?: boolean;
  quiet?: boolean;
}

/** `srds generate`. @param signal aborts what is being drawn */
export function generateCommand(signal: AbortSignal): Command {
  const command = new Command('generate')
    .description('draw images')
    .argument('<prompt>', 'what to draw; may be empty')
    .option(
      '--model <folder>',
      'diffusers folder of ONNX graphs, or owner/name[@revision] on the Hugging Face hub (default: scenes-128)',
    )
    .option('--steps <n>', 'steps of the fine grid (default: 25)', whole('--steps'))
    .addOption(
      new Option(
        '--sampler <name>',
        'auto: the fastest on the devices, as measured (default: auto; srds if an option of its own is given)',
      ).choices(SAMPLER_CHOICES),
    )
    .addOption(new Option('--correction <name>', 'default: secant').choices(['secant', 'parareal']))
    .option('--no-pipelined', "finish each iteration before the next, the paper's vanilla form")
    .option(
      '--blocks <n>',
      'number of blocks, or the steps of each as a,b,c (default: about 1.6 sqrt(steps), shorter ones first)',
      blocks,
    )
    .option(
      '--tolerance <t>',
      'stop when an iteration changes the image by less, in grey levels on average; 0: until exact (default: 0.5); of paradigms: how far states may move as the window does, in deviations of the noise (default: 0.05)',
      decimal('--tolerance'),
    )
    .option('--max-iterations <k>', 'stop after so many iterations', whole('--max-iterations'))
    .option(
      '--window <n>',
      'steps that picard, paradigms and parataa work on at a time (default: all)',
      whole('--window'),
    )
    .option('--history <n>', 'passes that parataa mixes (default: 3)', whole('--history'))
    .option('--order <n>', 'steps over which parataa computes a state (default: all)', whole('--order'))
    .addOption(
      new Option('--solver <name>', "default: the model's own, if it starts itself; else ddim").choices(SOLVERS),
    )
    .option('--eta <e>', 'noise that ddim adds, 0 to 1 (default: 0)', decimal('--eta'))
    .addOption(new Option('--spacing <name>', "of the timesteps (default: the model's)").choices(SPACINGS))
    .addOption(
      new Option('--prediction <type>', "what the network predicts (default: the model's)").choices(PREDICTIONS),
    )
    .option('--guidance <g>', 'guidance scale; up to 1: none (default: 5)', decimal('--guidance'))
    .option(
      '--guidance-rescale <r>',
      'bring guidance back to the deviation of the prediction, 0 to 1 (default: 0)',
      decimal('--guidance-rescale'),
    )
    .option('--noise <file.npy>', "initial noise instead of the seed's, float32, [n,4,h,w]")
    .option('--init <image>', 'start from an image, PNG, JPEG or WebP')
    .option('--strength <s>', 'share of the steps taken from it on, to 1 (default: 0.8)', decimal('--strength'))
    .option('--negative-prompt <text>', 'what to lead away from')
    .option('--seed <n>', 'seed of the first image, as in PyTorch (default: 0)', seed)
    .option('--n <n>', 'number of images (default: 1)', whole('--n'))
    .option('--size <WxH>', "in pixels (default: the model's)", size)
    .option('--low-memory', 'keep text encoders in memory only while they are used')
    .option('--out <file>', 'PNG file, folder, or pattern with {seed}')
    .option('--previews <dir>', 'write the image of every iteration there')
    .option('--latents <file.npy>', 'write the final latents, float32, [n,4,h,w]')
    .option('--trace <file.json>', 'write which evaluation ran when, for srds trace')
    .option('--compare', 'draw the serial sample too and measure the difference')
    .option('--json', 'print a report as JSON, and nothing else')
    .option('--quiet', 'print nothing but errors');
  return addDeviceOptions(command).action(async (prompt: string, flags: Flags) => {
    const { model, lowMemory, out, previews, latents, trace, noise, init, size, ...rest } = flags;
    const { open, others } = splitDeviceFlags(rest);
    const { json = false, quiet = false, pipelined, ...options } = others;
    const { result, context } = await runGenerate({
      model,
      open,
      lowMemory,
      noise,
      init,
      generate: {
        prompt,
        sampler: previews !== undefined || asksToRefine(flags) ? 'srds' : 'auto',
        // commander gives true where nothing was asked for.
        ...(pipelined === false && { pipelined }),
        ...options,
        ...size,
      },
      out,
      previews,
      latents,
      trace,
      progress: !json && !quiet,
      warnings: !quiet,
      signal,
    });
    if (json) return void process.stdout.write(`${JSON.stringify(jsonReport(result, context))}\n`);
    if (quiet) return;
    result.images.forEach((image, i) => {
      const difference = image.error ? `; ${differenceToSerial(image.error)}` : '';
      process.stdout.write(`${context.files[i] ?? 'no file'}: ${summary(image)}${difference}\n`);
    });
    if (result.choice) process.stdout.write(`${result.settings.sampler} was chosen: ${result.choice.reason}\n`);
  });
}
