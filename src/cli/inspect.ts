import { Command } from 'commander';
import { plural } from '../errors.js';
import { ENCODER_TITLES } from '../model/family.js';
import { isDenoiser } from '../model/graphNames.js';
import { inspectModel, type Inspection } from '../model/inspect.js';
import type { ModelFolder } from '../model/modelFolder.js';
import type { Schedule } from '../schedule/schedule.js';
import { findModel } from './model.js';
import { Progress } from './progress.js';
import { bytes } from '../pipeline/bytes.js';
import { version } from '../version.js';

/** `srds inspect`. @param signal aborts the download of a model */
export function inspectCommand(signal: AbortSignal): Command {
  return new Command('inspect')
    .description('show the contents of a model folder and how it will be run')
    .argument('[model]', 'folder, or owner/name[@revision] on the Hugging Face hub (default: the bundled model)')
    .option('--json', 'print JSON only')
    .action(async (model: string | undefined, { json = false }: { json?: boolean }) => {
      const progress = !json && process.stderr.isTTY ? new Progress(process.stderr, 1) : undefined;
      let inspection: Inspection;
      try {
        inspection = inspectModel(await findModel(model, { progress, verbose: true, signal }));
      } finally {
        progress?.end();
      }
      process.stdout.write(json ? `${JSON.stringify(report(inspection))}\n` : text(inspection));
    });
}

/** The inspection as JSON. */
function report({ model, schedule, graphs, timesteps, weights }: Inspection): object {
  const { scheduler } = model;
  return {
    version: version(),
    model: model.name,
    path: model.path,
    kind: model.family.id,
    size: {
      ...model.size,
      multiplesOf: model.sizeStep,
      fixed: fixedSides(model),
      fixedTokens: model.fixedImageTokens ?? null,
    },
    latents: {
      channels: model.network.latentChannels,
      pixelsEach: model.vaeFactor,
      scaling: model.latentScale.scaling,
    },
    tokens: tokensOf(model),
    maxSequenceLength: model.sequenceLength?.max ?? null,
    imageToImage: model.graphs.vae_encoder !== undefined,
    scheduler: {
      class: scheduler.className,
      solver: scheduler.solver ?? null,
      ...scheduleReport(schedule),
    },
    timesteps,
    graphs: graphs.map(({ rewrite, ...graph }) => ({ ...graph, rewrite: rewrite ?? null })),
    memory: { weights: weights.all, lowMemoryWeights: weights.lowMemory, vaeEncoder: weights.vaeEncoder },
  };
}

const ALONE = 'one per batch, which has one row: rows run one after the other, so SRDS is not faster than serial';

function scheduleReport(schedule: Schedule): object {
  const { predictionType: prediction, trainTimesteps } = schedule;
  if (schedule.scheduler === 'flow') {
    return { prediction, trainTimesteps, shift: schedule.shift, dynamicShift: schedule.isDynamic };
  }
  return {
    prediction,
    spacing: schedule.timestepSpacing,
    trainTimesteps,
    betaSchedule: schedule.trainedBetas ? 'trained_betas' : schedule.betaSchedule,
    zeroTerminalSnr: schedule.zeroSnr,
    karrasSigmas: schedule.karras,
  };
}

/** Tokens of each text encoder by default. */
function tokensOf({ textEncoders, sequenceLength }: ModelFolder): number[] {
  return textEncoders.flatMap((one) =>
    one ? Math.min(one.tokenizer.maxLength, (one.kind === 't5' && sequenceLength?.default) || Infinity) : [],
  );
}

/** The text encoders, with their tokens. */
function promptText({ family, textEncoders, sequenceLength }: ModelFolder): string {
  const texts = family.textEncoders.map(({ kind }, k) => {
    const title = ENCODER_TITLES[kind];
    if (kind === 't5' && sequenceLength) {
      const { default: usual, min, max } = sequenceLength;
      const tokens = `${usual} tokens${min === max ? '' : `, up to ${max} with --max-sequence-length`}`;
      return textEncoders[k] ? `${title}, ${tokens}` : `no ${title}, zeros for its ${tokens}`;
    }
    return `${title}, ${textEncoders[k]?.tokenizer.maxLength ?? 0} tokens`;
  });
  return texts.join('; ');
}

function scheduleText(schedule: Schedule): string {
  if (schedule.scheduler === 'flow') {
    const { shift, isDynamic } = schedule;
    return `predicts the velocity of a flow, shift ${Number(shift.toPrecision(3))}${isDynamic ? ' at this size' : ''}`;
  }
  const extras = [schedule.zeroSnr && 'zero terminal SNR', schedule.karras && 'Karras sigmas'].filter(Boolean);
  return [`predicts ${schedule.predictionType}`, `${schedule.timestepSpacing} timesteps`, ...extras].join(', ');
}

/** The inspection as text for people. */
function text({ model, schedule, graphs, timesteps, weights }: Inspection): string {
  const { scheduler, size } = model;
  const solver = scheduler.solver ?? 'none by default, choose one with --solver';
  const batching = {
    perRow: 'one per row: evaluations at different timesteps share a batch',
    rewritten:
      'one per batch in the file, rewritten at load to one per row: evaluations at different timesteps share a batch',
    shared:
      'one per batch: evaluations at different timesteps run one after the other, so SRDS is not faster than serial',
  };
  const isAlone = graphs.some(({ name, maxRows }) => isDenoiser(name) && maxRows === 1);
  const lines: [string, string][] = [
    ['Model', `${model.name}: ${model.family.title}`],
    ['Folder', model.path],
    ['Images', `${size.width}x${size.height}; ${sides(model)}`],
    ['From image', model.graphs.vae_encoder ? 'yes' : 'no, the folder has no VAE encoder'],
    ['Prompt', promptText(model)],
    ['Scheduler', `${scheduler.className}; solver: ${solver}`],
    ['Schedule', scheduleText(schedule)],
    [
      'Timesteps',
      isAlone ? ALONE : batching[timesteps.kind] + (timesteps.kind === 'shared' ? ` (${timesteps.why})` : ''),
    ],
    ...batchLines(graphs),
    ...deviceLines(graphs),
    [
      'Weights',
      `${bytes(weights.all)}, ${bytes(weights.lowMemory)} with --low-memory; ${bytes(weights.vaeEncoder)} more with --init`,
    ],
  ];
  const header = lines.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join('');
  const body = graphs.map((graph) => {
    const title = `${graph.name}: ${bytes(graph.bytes)}, ${graph.parameters} parameters, opset ${graph.opset}\n`;
    const values = [
      ...graph.inputs.map((value) => ['in', value] as const),
      ...graph.outputs.map((value) => ['out', value] as const),
    ].map(([way, { name, type, dims }]) => `  ${way.padEnd(4)}${name} ${type} [${dims.join(', ')}]\n`);
    return title + values.join('');
  });
  return `${header}\n${body.join('')}`;
}

/** The sides that the graphs fix; null if all are free. */
function fixedSides({ fixed }: ModelFolder): object | null {
  const { width, height } = fixed;
  return width === undefined && height === undefined ? null : { width: width ?? null, height: height ?? null };
}

function sides({ fixed, fixedImageTokens, sizeStep, maxSide }: ModelFolder): string {
  const multiples = `in multiples of ${sizeStep} pixels${maxSide === undefined ? '' : `, at most ${maxSide}`}`;
  if (fixed.width !== undefined && fixed.height !== undefined) return 'no other size, since the graphs fix it';
  if (fixedImageTokens !== undefined)
    return `sides ${multiples}, ${fixedImageTokens} tokens of ${sizeStep}x${sizeStep} in all, since the network fixes them`;
  if (fixed.width !== undefined) return `the graphs fix the width; heights ${multiples}`;
  return fixed.height === undefined ? `sides ${multiples}` : `the graphs fix the height; widths ${multiples}`;
}

/** What graphs of fixed batches mean for sampling. */
function batchLines(graphs: Inspection['graphs']): [string, string][] {
  const rows = graphs.find(({ name }) => isDenoiser(name))?.maxRows;
  if (rows === undefined) return [];
  const guided = rows < 4 ? '; an evaluation with guidance has 2, so no two of them share a batch' : '';
  return [['Batches', `of at most ${plural(rows, 'row')}, since the network fixes their size${guided}`]];
}

function deviceLines(graphs: Inspection['graphs']): [string, string][] {
  const optimized = graphs.filter(({ gpuOperators }) => gpuOperators.length > 0);
  if (optimized.length === 0) return [];
  const which = optimized.map(({ name, gpuOperators }) => `${name} (${gpuOperators.join(', ')})`).join(', ');
  return [['Device', `CUDA only; graphs that were optimized for it: ${which}`]];
}
