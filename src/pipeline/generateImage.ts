import type { Batcher } from '../engine/batcher.js';
import type { ConditioningId } from '../engine/engine.js';
import type { RgbImage } from '../image/image.js';
import { repaintedShare } from '../image/mask.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import { networkDenoiser } from '../model/networkDenoiser.js';
import type { Networks } from '../model/networks.js';
import type { Denoiser } from '../run/denoiser.js';
import { drive } from '../run/drive.js';
import type { EvaluationCount, SampleResult, SamplerEvent } from '../run/events.js';
import type { Run } from '../run/run.js';
import { serial } from '../sampler/serial.js';
import { finalScale } from '../schedule/schedule.js';
import { maxAbsoluteDifference, meanAbsoluteDifference } from '../tensor/operations.js';
import type { Settings } from './options.js';
import { prepareLatents } from './prepareLatents.js';
import type { GeneratedImage, GenerateEvent, ImageEvaluations } from './result.js';
import { residualTolerance, samplerOf, shareOfResidual } from './samplers.js';
import type { BatchLimits } from './selectSampler.js';
import { residualOf } from './stopping.js';
import { unlessAborted } from '../waiting.js';

/** What the images of one call share. */
export interface ImageContext {
  readonly model: ModelFolder;
  readonly networks: Networks;
  readonly batcher: Batcher;
  readonly settings: Settings;
  readonly conditional: ConditioningId;
  readonly unconditional: ConditioningId | undefined;
  /** What evaluations of a batch must have in common (`Evaluation.group`). */
  readonly group: string;
  /** Output of the VAE encoder for the initial image. */
  readonly encodedInit: Float32Array | undefined;
  /** The pixels to repaint, [height, width], 1 or 0; undefined: all. */
  readonly mask: Uint8Array | undefined;
  /** Sizes of batches; undefined if nothing is known of the devices. */
  readonly limits: BatchLimits | undefined;
  /** Identifies the call to the batcher. */
  readonly client: object;
  readonly emit: (event: GenerateEvent) => void;
  readonly signal: AbortSignal;
}

/** A generated image, with the times at which it was sampled and decoded, in milliseconds on the clock of `performance.now`. */
export interface TimedImage {
  readonly result: GeneratedImage;
  readonly sampled: number;
  readonly decoded: number;
}

/** Generates one image of a call. @param image its index among those of the call */
export async function generateImage(context: ImageContext, image: number): Promise<TimedImage> {
  const { settings, emit, signal } = context;
  const seed = settings.seeds[image];
  const decode = memoizedDecoder(context);
  const run = startRun(context, image, decode);
  let preview: RgbImage | undefined;
  for await (const event of run) {
    const evaluations = withSerial(event.evaluations, settings);
    if (event.type === 'evaluation') {
      emit({ ...event, image, evaluations });
    } else {
      const { iteration, residual, reachesEnd, x } = event;
      settings.current?.update(image, () => decode(x));
      const shown = settings.previews ? await unlessAborted(decode(x), signal) : undefined;
      preview = shown ?? preview;
      if (shown || !settings.previews) {
        emit({ type: 'iteration', image, seed, iteration, residual, reachesEnd, evaluations, preview: shown });
      }
    }
  }
  const sample = await run.result;
  const sampled = performance.now();
  emit({ type: 'phase', phase: 'decoding' });
  const rgb = sample.status === 'aborted' ? preview : await unlessAborted(decode(sample.x), signal);
  const decoded = performance.now();

  const { iterations, residuals } = sample;
  const latents = finished(settings, context.model, sample.x);
  const status = rgb ? sample.status : 'aborted';
  const evaluations = withSerial(sample.evaluations, settings);
  const result: GeneratedImage = { seed, status, iterations, residuals, evaluations, latents, rgb };
  emit({ type: 'image', image, result });
  return { result, sampled, decoded };
}

/** Generates the serial image too and adds the difference. An aborted image, or one whose comparison is, stays as it is. */
export async function compareWithSerial(
  context: ImageContext,
  result: GeneratedImage,
  image: number,
): Promise<GeneratedImage> {
  const { signal, settings } = context;
  if (!result.rgb || result.status === 'aborted') return result;
  // A client of its own: the run's traces and events do not contain its batches.
  const own = { ...context, client: {} };
  const run = drive(serial(prepareLatents(settings, own.model, image, own)), {
    denoiser: denoiserOf(own, image),
    signal,
  });
  const { status, x } = await run.result;
  if (status === 'aborted') return result;
  const { width, height } = settings;
  const decoding = context.networks.decode(finished(settings, context.model, x), width, height, signal);
  const expected = await unlessAborted(decoding, signal);
  if (!expected) return result;
  const [a, b] = [result.rgb.data, expected.data];
  return { ...result, error: { mean: meanAbsoluteDifference(a, b), max: maxAbsoluteDifference(a, b) } };
}

/** An image whose run was aborted before its first state was known. @param size of the latents */
export function abortedImage(seed: bigint, settings: Settings, size: number): GeneratedImage {
  const evaluations = withSerial({ critical: 0, total: 0 }, settings);
  const latents = new Float32Array(size);
  return { seed, status: 'aborted', iterations: 0, residuals: [], evaluations, latents, rgb: undefined };
}

function startRun(
  context: ImageContext,
  image: number,
  decode: (latents: Float32Array) => Promise<RgbImage>,
): Run<SamplerEvent, SampleResult> {
  const { settings, model, networks, signal } = context;
  const tolerance = residualTolerance(settings, networks.roundsCoarsely);
  const repainted = repaintedShare(context.mask);
  const { greyLevels } = model.family;
  const residual = residualOf(settings.stopping, greyLevels, decode, repainted, shareOfResidual(settings));
  const network = denoiserOf(context, image);
  const { current } = settings;
  const denoiser: Denoiser =
    current && settings.sampler === 'serial'
      ? (request) => {
          current.update(image, () => decode(request.x));
          return network(request);
        }
      : network;
  const start = prepareLatents(settings, model, image, context);
  const sampler = samplerOf(settings, start, networks.roundsCoarsely, repainted);
  return drive(sampler, { denoiser, tolerance, residual, signal });
}

/** Decodes latents, each array once. */
function memoizedDecoder({
  networks,
  settings,
  model,
  signal,
}: ImageContext): (latents: Float32Array) => Promise<RgbImage> {
  const images = new WeakMap<Float32Array, Promise<RgbImage>>();
  const { width, height } = settings;
  return (latents) => {
    const decoded = images.get(latents) ?? networks.decode(finished(settings, model, latents), width, height, signal);
    decoded.catch(() => undefined);
    images.set(latents, decoded);
    return decoded;
  };
}

function denoiserOf(context: ImageContext, image: number): Denoiser {
  const { batcher, networks, model, settings, conditional, unconditional, group, limits, client } = context;
  const { schedule, cfgScale, guidanceRescale } = settings;
  const { network, layout, sampleInput, networkTime } = model.family;
  return networkDenoiser({
    batcher,
    graph: network,
    output: networks.denoiserOutput,
    dims: layout.dims(latentDims(model, settings)),
    sampleInput,
    networkTime,
    group,
    predictionType: schedule.predictionType,
    bound: schedule.scheduler === 'flow' ? undefined : schedule.bound,
    conditional,
    unconditional,
    guidance: cfgScale,
    guidanceRescale,
    priority: [image],
    client,
    ...limits,
  });
}

/** The last state of a trajectory as the latents that diffusers returns, [channels, height, width]. */
function finished(settings: Settings, model: ModelFolder, x: Float32Array): Float32Array {
  const { schedule, grid } = settings;
  const scale = finalScale(schedule, grid[grid.length - 1].to);
  const state = scale === 1 ? x : x.map((value) => scale * value);
  return model.family.layout.toLatents(state, latentDims(model, settings));
}

function withSerial(count: EvaluationCount, { serialEvaluations }: Settings): ImageEvaluations {
  return { ...count, serial: serialEvaluations };
}
