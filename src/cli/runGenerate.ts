import { join } from 'node:path';
import { SrdsError } from '../errors.js';
import { latentsFile, readNoise } from '../pipeline/latents.js';
import { settingsOf, type GenerateOptions } from '../pipeline/options.js';
import { Pipeline } from '../pipeline/pipeline.js';
import type { ModelFolder } from '../model/modelFolder.js';
import { fitSize } from '../server/imageSize.js';
import type { OpenOnDevices } from '../pipeline/options/openOnDevices.js';
import type { GenerateEvent, GenerateResult } from '../pipeline/result.js';
import { readImage, type RgbImage } from '../image/image.js';
import { encodePng } from '../image/png.js';
import { findModel } from './model.js';
import { TraceRecorder, type Trace } from '../pipeline/trace.js';
import { checkWritable, imagePath, writeFiles, type OutputFile } from './output.js';
import { Progress, warn } from './progress.js';
import { pngParameters } from '../pipeline/pngParameters.js';
import type { ReportContext } from './report.js';

/** What to generate, with which model, and which files to write. */
export interface RunGenerateOptions {
  readonly model?: string | undefined;
  readonly open: OpenOnDevices;
  readonly lowMemory?: boolean | undefined;
  /** Path of the initial noise, an .npy file. */
  readonly noise?: string | undefined;
  /** Path of the initial image. */
  readonly init?: string | undefined;
  /** Path of the mask, white where to repaint the initial image. */
  readonly mask?: string | undefined;
  readonly generate: GenerateOptions;
  /** Path of the image or images; see `imagePath`. */
  readonly out?: string | undefined;
  /** Folder for a preview of each iteration. */
  readonly previews?: string | undefined;
  /** Path of the final latents, an .npy file. */
  readonly latents?: string | undefined;
  /** Path of the trace. */
  readonly trace?: string | undefined;
  /** Whether to show a line of progress if standard error is a terminal. */
  readonly progress: boolean;
  /** Whether to print warnings. */
  readonly warnings: boolean;
  readonly signal: AbortSignal;
  readonly onEvent?: (event: GenerateEvent) => void;
}

/** A result with the context that a report needs. */
export interface GenerationResult {
  readonly result: GenerateResult;
  readonly context: ReportContext;
}

/**
 * Opens the model, generates, writes the files and closes the model. An aborted run writes no files, except the previews of
 * iterations that were complete.
 * @throws SrdsError
 */
export async function runGenerate(options: RunGenerateOptions): Promise<GenerationResult> {
  const start = performance.now();
  const { signal } = options;
  const images = options.generate.n ?? 1;
  const progress = options.progress && process.stderr.isTTY ? new Progress(process.stderr, images) : undefined;
  const onWarning = (message: string): void => {
    if (options.warnings) warn(message, progress);
  };
  try {
    await checkOutputs(options);
    const given = await withInputs(options);
    const pathOf = await imagePath(options.out, given.prompt, images > 1, BigInt(given.seed ?? 0));
    const model = await findModel(options.model, { progress, verbose: options.warnings, signal });
    const generate = withinModel(given, model, onWarning);
    // Checks the options before the graphs are loaded, which can take long.
    settingsOf(generate, model);
    const { open, lowMemory } = options;
    const recorder = options.trace === undefined ? undefined : new TraceRecorder(generate.n);
    const onBatch = recorder && { onBatch: recorder.batch };
    const pipeline = await Pipeline.open(model, { ...open, lowMemory, signal, onWarning, ...onBatch });
    try {
      const onEvent = async (event: GenerateEvent): Promise<void> => {
        if (event.type === 'warning') onWarning(event.message);
        if (event.type === 'iteration' && event.preview && options.previews !== undefined) {
          await writeFiles([await previewFile(options.previews, event, event.preview)], signal);
        }
        recorder?.event(event);
        progress?.show(event);
        options.onEvent?.(event);
      };
      const result = await follow(pipeline, { ...generate, signal }, onEvent);
      if (options.previews !== undefined && result.settings.sampler === 'serial') {
        onWarning('auto chose the serial sampler, which has no previews; use --sampler srds');
      }
      const paths = result.settings.seeds.map(pathOf);
      const aborted = signal.aborted;
      if (!aborted) {
        const files = await filesOf(result, pipeline, paths, options.latents);
        const trace = recorder?.trace(traceTitle(result, pipeline));
        if (trace && options.trace !== undefined) files.push(traceOutput(options.trace, trace));
        await writeFiles(files, signal);
      }
      return {
        result,
        context: {
          model: pipeline.model.name,
          device: pipeline.engine.device,
          files: paths.map((path) => (aborted ? null : path)),
          totalSeconds: (performance.now() - start) / 1000,
        },
      };
    } finally {
      await pipeline.close();
    }
  } finally {
    progress?.end();
  }
}

/** Checks, before any work, that all files but the images can be written. */
async function checkOutputs({ previews, latents, trace, generate }: RunGenerateOptions): Promise<void> {
  if (previews !== undefined && generate.sampler === 'serial') {
    throw new SrdsError('INVALID_OPTION', '--previews with a sampler that iterates', 'serial', 'use --sampler srds');
  }
  if (previews !== undefined) await checkWritable(previews && join(previews, 'preview.png'));
  if (latents !== undefined) await checkWritable(latents);
  if (trace !== undefined) await checkWritable(trace);
}

/** The options of `generate` with the content of the input files. */
async function withInputs({ generate, noise, init, mask, previews }: RunGenerateOptions): Promise<GenerateOptions> {
  return {
    ...generate,
    ...(noise !== undefined && { noise: await readNoise(noise) }),
    ...(init !== undefined && { init: await readImage(init) }),
    ...(mask !== undefined && { mask: await readImage(mask) }),
    previews: generate.previews ?? previews !== undefined,
  };
}

/** The options, with a size for an initial image that is much larger than the model's own images, or smaller than any that it draws. */
function withinModel(
  given: GenerateOptions,
  model: ModelFolder,
  onWarning: (message: string) => void,
): GenerateOptions {
  const { init, noise } = given;
  // Noise is for a size.
  if (!init || noise || given.width !== undefined || given.height !== undefined) return given;
  const { options } = fitSize(given, model, undefined);
  const { width, height } = options;
  if (width !== undefined && height !== undefined) {
    onWarning(
      `the initial image of ${init.width}x${init.height} is scaled to ${width}x${height}; --size chooses another size`,
    );
  }
  return options;
}

/** Generates, and waits for `onEvent` after each event. */
async function follow(
  pipeline: Pipeline,
  options: GenerateOptions,
  onEvent: (event: GenerateEvent) => Promise<void>,
): Promise<GenerateResult> {
  const run = pipeline.generate(options);
  for await (const event of run) await onEvent(event);
  return run.result;
}

function traceTitle({ settings }: GenerateResult, { model, engine }: Pipeline): string {
  const { sampler, steps, partition, prompt } = settings;
  const how = sampler === 'srds' ? `srds, ${partition.length} blocks` : sampler;
  return `"${prompt}", ${steps} steps, ${how}, ${model.name} on ${engine.device}`;
}

function traceOutput(path: string, trace: Trace): OutputFile {
  return { path, bytes: Buffer.from(`${JSON.stringify(trace)}\n`) };
}

async function previewFile(
  folder: string,
  { seed, iteration }: Extract<GenerateEvent, { type: 'iteration' }>,
  preview: RgbImage,
): Promise<OutputFile> {
  const name = `seed${seed}-iteration${String(iteration).padStart(2, '0')}.png`;
  return { path: join(folder, name), bytes: await encodePng(preview) };
}

async function filesOf(
  result: GenerateResult,
  { model }: Pipeline,
  paths: readonly string[],
  latents: string | undefined,
): Promise<OutputFile[]> {
  const { images, settings } = result;
  const files: OutputFile[] = [];
  for (const [i, image] of images.entries()) {
    if (!image.rgb) continue;
    const parameters = pngParameters(image, settings, model.name);
    files.push({ path: paths[i], bytes: await encodePng(image.rgb, { parameters }) });
  }
  if (latents !== undefined) files.push({ path: latents, bytes: latentsFile(result, model) });
  return files;
}
