import { Command } from 'commander';
import { inspectModel, type Inspection } from '../model/inspect.js';
import { findModel } from './model.js';
import { Progress } from './progress.js';
import { bytes } from './bytes.js';
import { version } from '../version.js';

/** `srds inspect`. @param signal gives up fetching a model */
export function inspectCommand(signal: AbortSignal): Command {
  return new Command('inspect')
    .description('show what a model folder holds and how it will be run')
    .argument('[model]', 'folder, or owner/name[@revision] on the Hugging Face hub (default: the bundled scenes-128)')
    .option('--json', 'print it as JSON, and nothing else')
    .action(async (model: string | undefined, { json = false }: { json?: boolean }) => {
      const progress = !json && process.stderr.isTTY ? new Progress(process.stderr, 1) : undefined;
      let inspection: Inspection;
      try {
        inspection = await inspectModel(await findModel(model, { progress, talk: true, signal }));
      } finally {
        progress?.end();
      }
      process.stdout.write(json ? `${JSON.stringify(report(inspection))}\n` : text(inspection));
    });
}

function report({ model, schedule, graphs, timesteps, weights }: Inspection): object {
  const { scheduler } = model;
  return {
    version: version(),
    model: model.name,
    path: model.path,
    kind: model.family.id,
    size: { ...model.size, multiplesOf: model.sizeStep },
    latents: { channels: model.latentChannels, pixelsEach: model.vaeFactor, scaling: model.latentScale.scaling },
    tokens: model.textEncoders.map(({ tokenizer }) => tokenizer.maxLength),
    imageToImage: model.graphs.vae_encoder !== undefined,
    scheduler: {
      class: scheduler.className,
      solver: scheduler.solver ?? null,
      prediction: schedule.predictionType,
      spacing: schedule.timestepSpacing,
      trainTimesteps: schedule.trainTimesteps,
      betaSchedule: schedule.trainedBetas ? 'trained_betas' : schedule.betaSchedule,
      zeroTerminalSnr: schedule.zeroSnr,
      karrasSigmas: schedule.karras,
    },
    timesteps,
    graphs: graphs.map(({ rewrite, ...graph }) => ({ ...graph, rewrite: rewrite ?? null })),
    memory: { weights: weights.all, lowMemoryWeights: weights.lowMemory, vaeEncoder: weights.vaeEncoder },
  };
}

function text({ model, schedule, graphs, timesteps, weights }: Inspection): string {
  const { scheduler, size } = model;
  const extras = [schedule.zeroSnr && 'zero terminal SNR', schedule.karras && 'Karras sigmas'].filter(Boolean);
  const solver = scheduler.solver ?? 'none by default, choose one with --solver';
  const batching = {
    perRow: 'one a row: evaluations at different timesteps share a batch',
    rewritten: 'one for the whole batch in the file, rewritten at load to one a row: they share a batch',
    shared: 'one for the whole batch: evaluations at different timesteps take turns, so SRDS cannot pay',
  };
  const lines: [string, string][] = [
    ['Model', `${model.name}: ${model.family.title}`],
    ['Folder', model.path],
    ['Images', `${size.width}x${size.height}; sides in multiples of ${model.sizeStep} pixels`],
    ['From image', model.graphs.vae_encoder ? 'yes' : 'no, there is no VAE encoder'],
    ['Prompt', model.textEncoders.map(({ tokenizer }) => `up to ${tokenizer.maxLength} tokens`).join(' and ')],
    ['Scheduler', `${scheduler.className}; solver: ${solver}`],
    [
      'Schedule',
      [`predicts ${schedule.predictionType}`, `${schedule.timestepSpacing} timesteps`, ...extras].join(', '),
    ],
    ['Timesteps', batching[timesteps.kind] + (timesteps.kind === 'shared' ? ` (${timesteps.why})` : '')],
    [
      'Weights',
      `${bytes(weights.all)}, ${bytes(weights.lowMemory)} with --low-memory; ${bytes(weights.vaeEncoder)} more with --init`,
    ],
  ];
  const head = lines.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join('');
  const body = graphs.map((graph) => {
    const title = `${graph.name}: ${bytes(graph.bytes)}, ${graph.parameters} parameters, opset ${graph.opset}\n`;
    const values = [
      ...graph.inputs.map((value) => ['in', value] as const),
      ...graph.outputs.map((value) => ['out', value] as const),
    ].map(([way, { name, type, dims }]) => `  ${way.padEnd(4)}${name} ${type} [${dims.join(', ')}]\n`);
    return title + values.join('');
  });
  return `${head}\n${body.join('')}`;
}
