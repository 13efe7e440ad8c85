import { Command } from 'commander';
import { DEVICE_OPTIONS } from '../pipeline/options/devices.js';
import { flagOf } from '../pipeline/options/flags.js';
import { GENERATION_OPTIONS, RANDOM_SEED, withSides } from '../pipeline/options/generation.js';
import { inGroup, without, type HelpGroup } from '../pipeline/options/option.js';
import {
  commandLine,
  mergeSources,
  readSettingsFile,
  settingsFromEnvironment,
  settingsFromFile,
} from '../pipeline/options/sources.js';
import { usualSampler } from '../pipeline/options.js';
import { SERVER_OPTIONS } from '../server/config.js';
import { splitDeviceFlags } from './devices.js';
import { addFlags, valuesFromFlags } from './optionFlags.js';
import { choiceText, differenceToSerial, jsonReport, summary, timeText } from './report.js';
import { warn } from './progress.js';
import { runGenerate } from './runGenerate.js';
import { unknownVariables } from './unknownVariables.js';

/** The options that flags, the environment and a file may set. */
const SAMPLING_OPTIONS = without(GENERATION_OPTIONS, 'prompt', 'previews');
const SETTINGS = { ...SAMPLING_OPTIONS, ...DEVICE_OPTIONS };

/** The other flags, which name files and say what is printed. */
interface FileFlags {
  readonly model?: string;
  readonly config?: string;
  readonly lowMemory?: boolean;
  readonly noise?: string;
  readonly init?: string;
  readonly mask?: string;
  readonly out?: string;
  readonly previews?: string;
  readonly latents?: string;
  readonly trace?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

type ParsedFlags = FileFlags & Readonly<Record<string, unknown>>;

/** `srds generate`. @param signal aborts the generation */
export function generateCommand(signal: AbortSignal): Command {
  const command = new Command('generate')
    .description('generate images')
    .argument('<prompt>', 'text that describes the image; may be empty')
    .optionsGroup('Common options:')
    .option(
      '--model <folder>',
      'diffusers folder of ONNX graphs, or owner/name[@revision] on the Hugging Face hub (default: the bundled model)',
    )
    .option('--out <file>', 'PNG file, folder, or pattern with {seed} (default: named after the prompt and the seed)');
  addGroup(command, 'common');
  command
    .optionsGroup('What to draw:')
    .option('--init <image>', 'image to start from: PNG, JPEG, WebP, AVIF, GIF, TIFF or SVG')
    .option('--mask <image>', 'part of the image to start from that is repainted, white; the rest stays')
    .option('--noise <file.npy>', 'initial noise in place of that of the seed, float32, [n,channels,h,w]');
  addGroup(command, 'image');
  command.optionsGroup('Sampler and solver:');
  addGroup(command, 'sampler');
  command
    .optionsGroup('Output:')
    .option('--previews <folder>', 'folder for the image of every iteration')
    .option('--latents <file.npy>', 'file for the final latents, float32, [n,channels,h,w]')
    .option('--trace <file.json>', 'file for the times of all evaluations, which srds trace reads')
    .option('--json', 'print a report as JSON, and nothing else')
    .option('--quiet', 'print nothing but errors');
  addGroup(command, 'output');
  command.optionsGroup('Devices:');
  addFlags(command, DEVICE_OPTIONS);
  command
    .option('--low-memory', 'keep text encoders in memory only while they are used')
    .optionsGroup('Other options:')
    .option('--config <file.json>', 'file of options, by their names in the library [SRDS_CONFIG]');
  command.addHelpText(
    'after',
    '\nOptions of sampling and of devices may also be variables of the environment, such as SRDS_STEPS, or in the' +
      '\nfile of --config, such as {"steps": 50}. Flags win over the environment, and that over the file.',
  );
  return command.action(async (prompt: string, flags: ParsedFlags) => {
    const { model, lowMemory, out, previews, latents, trace, noise, init, mask } = flags;
    const { open, others } = await splitDeviceFlags(await settingsFor(flags));
    const { json = false, quiet = false } = flags;
    if (!quiet) {
      for (const { name, suggested } of unknownVariables(process.env))
        warn(`no option has the variable ${name}${suggested}`, undefined);
    }
    const { result, context } = await runGenerate({
      model,
      open,
      lowMemory,
      noise,
      init,
      mask,
      generate: {
        prompt,
        sampler: previews !== undefined ? 'srds' : usualSampler(others),
        ...withSides(others),
        nameOf: (option) => flagOf(SAMPLING_OPTIONS, option),
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
    const isRandom = others.seed !== undefined && BigInt(others.seed) === RANDOM_SEED;
    result.images.forEach((image, i) => {
      const seed = isRandom ? `, seed ${image.seed}` : '';
      const difference = image.error ? `; ${differenceToSerial(image.error)}` : '';
      process.stdout.write(
        `${context.files[i] ?? 'no file'}: ${summary(image, result.settings.sampler)}${seed}${difference}\n`,
      );
    });
    if (result.choice) process.stdout.write(`${choiceText(result.settings.sampler, result.choice)}\n`);
    process.stdout.write(`${timeText(result, context.totalSeconds)}\n`);
  });
}

function addGroup(command: Command, group: HelpGroup): void {
  addFlags(command, inGroup(SAMPLING_OPTIONS, group));
}

/** The values of the flags, the environment and the file, merged. */
async function settingsFor(flags: ParsedFlags) {
  const file = flags.config ?? process.env.SRDS_CONFIG;
  // A server may share the environment and the file.
  const others = Object.keys(SERVER_OPTIONS);
  return mergeSources(
    SETTINGS,
    [
      commandLine(SETTINGS, valuesFromFlags(SETTINGS, flags)),
      settingsFromEnvironment(SETTINGS, process.env),
      ...(file ? [settingsFromFile(SETTINGS, await readSettingsFile(file), file, others)] : []),
    ],
    'see srds generate --help',
  );
}
