import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { messageOf, plural, SrdsError, wholeNumber } from '../errors.js';
import { Pipeline } from '../pipeline/pipeline.js';
import type { ImageSize } from '../model/family.js';
import { printedTable } from './table.js';
import { version } from '../version.js';
import { parseCurve, rowsThatPay, sharesRows } from '../planner/curve.js';
import { LEAST_FOR_PICARD, mayBeChosen, nameOf, plan, type Plan } from '../planner/plan.js';
import type { Machine } from '../planner/forecast.js';
import { DEVICE_OPTIONS, type DeviceValues } from '../pipeline/options/devices.js';
import { splitDeviceFlags } from './devices.js';
import { addFlags, valuesFromFlags } from './optionFlags.js';
import { flagOf } from '../pipeline/options/flags.js';
import { findModel } from './model.js';
import { Progress, warn } from './progress.js';
import { list, size, whole } from './values.js';

interface Flags extends DeviceValues {
  readonly model?: string;
  readonly steps: readonly number[];
  readonly size?: ImageSize;
  readonly devices?: number;
  readonly curve?: string;
  readonly guidance: boolean;
  readonly fresh?: boolean;
  readonly json?: boolean;
}

const MAX_DEVICES = 64;
const MAX_STEPS = 1000;

/** `srds plan`. @param signal aborts measuring */
export function planCommand(signal: AbortSignal): Command {
  const command = new Command('plan')
    .description('forecast the time of each sampler on these devices, or on others that a latency curve describes')
    .optionsGroup('What to forecast:')
    .option('--model <folder>', 'model, as in srds generate (default: the bundled model)')
    .option('--steps <list>', 'numbers of steps', list('--steps'), [25, 100])
    .option('--size <WxH>', "size of the image in pixels, such as 512x512 (default: the model's)", size('--size'))
    .option('--no-guidance', 'plan for one row an evaluation instead of two')
    .optionsGroup('Latency curve:')
    .option(
      '--curve <file>',
      'JSON file of a latency curve: {"padded": true, "points": [{"rows": 2, "seconds": 0.006}, ...]}; padded: whether batches are padded to the next point; no device runs',
    )
    .option('--devices <n>', 'devices that have this curve (default: 1)', whole('--devices'))
    .option('--fresh', 'measure again in place of a curve in the cache, such as one from a busy machine')
    .optionsGroup('Output:')
    .option('--json', 'print the plans as JSON, and nothing else')
    .optionsGroup('Devices:');
  return addFlags(command, DEVICE_OPTIONS).action(async (flags: Flags) => {
    for (const steps of flags.steps) wholeNumber('a number of steps', steps, 1, MAX_STEPS);
    const machine = flags.curve === undefined ? await measured(flags, signal) : await described(flags, flags.curve);
    const plans = [...new Set(flags.steps)].map((steps) => ({ steps, ...plan({ steps }, machine) }));
    if (flags.json) {
      return void process.stdout.write(`${JSON.stringify({ version: version(), machine, plans })}\n`);
    }
    process.stdout.write(plans.map(({ steps, ...one }) => text(steps, one)).join('\n'));
  });
}

async function described({ devices = 1, guidance, ...others }: Flags, file: string): Promise<Machine> {
  const { model, size, fresh } = others;
  const given = Object.entries({ model, size, fresh }).find(([, value]) => value !== undefined);
  const option = Object.keys(valuesFromFlags(DEVICE_OPTIONS, { ...others })).at(0);
  const unused = given ? `--${given[0]}` : option === undefined ? undefined : flagOf(DEVICE_OPTIONS, option);
  if (unused !== undefined) {
    throw new SrdsError('INVALID_OPTION', `--curve without ${unused}, since no device runs`, 'both', 'leave one out');
  }
  wholeNumber('a number of devices', devices, 1, MAX_DEVICES);
  const content = await readFile(file, 'utf8')
    .then((read): unknown => JSON.parse(read.replace(/^\uFEFF/, '')))
    .catch((error: unknown) => {
      throw new SrdsError('INVALID_OPTION', `a latency curve at ${file}`, messageOf(error), 'give a JSON file');
    });
  const curve = parseCurve(content, file);
  const rowsPerEvaluation = guidance ? 2 : 1;
  const maxRows = Math.max(rowsPerEvaluation, rowsThatPay(curve));
  const splitsRows = sharesRows(curve, rowsPerEvaluation, devices);
  return { devices: Array.from({ length: devices }, () => curve), rowsPerEvaluation, splitsRows, maxRows };
}

async function measured(flags: Flags, signal: AbortSignal): Promise<Machine> {
  if (flags.devices !== undefined) {
    throw new SrdsError('INVALID_OPTION', '--devices with --curve', 'no --curve', 'name the devices with --device');
  }
  const { open, others } = await splitDeviceFlags(flags);
  const progress = !flags.json && process.stderr.isTTY ? new Progress(process.stderr, 1) : undefined;
  try {
    const model = await findModel(others.model, { progress, verbose: true, signal });
    const pipeline = await Pipeline.open(model, { ...open, signal, onWarning: (message) => warn(message, progress) });
    try {
      progress?.setState('measuring the devices');
      const guidance = others.guidance ? undefined : 1;
      const machine = await pipeline.machine({ prompt: '', ...others.size, guidance, signal }, others);
      signal.throwIfAborted();
      return machine;
    } finally {
      await pipeline.close();
    }
  } finally {
    progress?.end();
  }
}

/** The decision, its reason and the table of all candidates. */
function text(steps: number, { candidates, chosen, reason, basis }: Plan): string {
  const head = ['', 'sampler', 'time, ms', 'against serial', 'critical evaluations', 'total'];
  const rows = candidates.map((candidate) => [
    candidate === chosen ? '->' : '',
    mayBeChosen(candidate, steps) ? nameOf(candidate) : `${nameOf(candidate)} (not below ${LEAST_FOR_PICARD} steps)`,
    (1000 * candidate.seconds).toFixed(0),
    `${candidate.speedUp.toFixed(2)}x`,
    candidate.critical.toFixed(1),
    candidate.total.toFixed(0),
  ]);
  const decision = `${plural(steps, 'step')}: ${nameOf(chosen)}, ${(1000 * chosen.seconds).toFixed(0)} ms`;
  return `${decision}; ${reason}.\nForecasts rest on ${basis}.\n\n${printedTable([head, ...rows])}\n`;
}
