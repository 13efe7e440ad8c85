import { createHash } from 'node:crypto';
import { messageOf } from '../../errors.js';
import { readCache, writeCache } from '../../files/cacheFile.js';
import { fileStamp } from '../../files/fileStamp.js';
import type { BucketShape, GraphSource, PreparedModel } from '../../onnx/prepare.js';
import type { BucketSession } from '../bucketSession.js';
import { version } from '../../version.js';
import type { CustomOperators } from '../cuda/kernels/customOperators.js';
import type { GpuKernels } from '../cuda/kernels/gpuKernels.js';
import { KERNEL_SOURCE } from '../cuda/kernels/source.js';
import type { SessionSettings } from '../cuda/sessionOptions.js';
import { CudaRuntime } from '../cuda/cudaRuntime.js';
import type { OutputRow } from '../engine.js';
import type { OrtApi } from '../cuda/ortApi.js';
import { OrtSession } from '../cuda/ortSession.js';
import { ConstantsFailure, FilesChanged, SharingSessions } from '../cuda/sharingSessions.js';
import type { ProcessSettings, Slower } from './protocol.js';
import { isOutOfMemory } from './session.js';

/** Largest difference from the plain session's output, relative to its magnitude. Other kernels in float16 stay far below. */
const MAX_DIFFERENCE = 0.05;
/** Magnitude of images in 8 bits, half of their range: the root mean square of a dark one is near 0. */
const IMAGE_MAGNITUDE = 127.5;

/** The reason why a graph's buckets have plain sessions from now on. */
export class CApiFailure extends Error {}

/** A graph, and what its sessions need and share. */
interface Variant {
  readonly graph: GraphSource;
  readonly settings: SessionSettings;
  /** What the outputs depend on; undefined without a CUDA runtime, which opening a session reports. */
  readonly key: readonly unknown[] | undefined;
  /** The buckets whose outputs need not be compared: one was, or memory does not suffice for it. */
  readonly compared: Set<string>;
  /** Opens sessions that share constants; undefined if the graph has none, or they cannot be shared. */
  sharing: SharingSessions | undefined;
}

/**
 * Opens the sessions of a graph's buckets over ONNX Runtime's C API. One session for all batch sizes cannot be captured as CUDA graphs,
 * since ONNX Runtime then computes shapes in between and copies them to the GPU. So there is one for each; they share what they can
 * (`shareConstants`).
 *
 * The first output of each bucket is compared with that of another one that was, or of a plain session, which takes about as long to open: other
 * sizes have other kernels. The user's cache keeps what was compared, by what the outputs depend on.
 */
export class CApiSessions {
  /** What the graph does without. */
  slower: Slower | undefined;

  private constructor(
    private readonly api: OrtApi,
    private readonly dynamicOperators: readonly string[],
    private readonly onCuda: boolean,
    private readonly file: string,
    private variant: Variant,
    /** What takes its place if it fails. */
    private readonly withoutKernels: (() => Promise<Variant>) | undefined,
  ) {}

  /** @param kernels of this package, if the graph may have them */
  static async for(
    api: OrtApi,
    prepared: PreparedModel,
    settings: ProcessSettings & Pick<SessionSettings, 'searches'>,
    kernels?: Pick<GpuKernels, 'operators'>,
  ): Promise<CApiSessions> {
    const { dynamicOperators, files, weights } = prepared;
    const variantOf = async (graph: GraphSource, operators?: CustomOperators): Promise<Variant> => {
      const all = { ...settings, weights, operators };
      const key = await comparisonKey(api, files, graph, all);
      const shared = graph.share();
      const sharing = shared && new SharingSessions(api, shared, all);
      return { graph, settings: all, key, compared: new Set(), sharing };
    };
    const onCuda = settings.device.kind === 'cuda';
    const plain = () => variantOf(prepared);
    try {
      // A graph that cannot be captured has no sessions here.
      const mayFuse = kernels && !(onCuda && dynamicOperators.length > 0);
      const fused = mayFuse ? prepared.withKernels() : undefined;
      const variant = fused && (await variantOf(fused, kernels?.operators()));
      return new CApiSessions(api, dynamicOperators, onCuda, files[0], variant ?? (await plain()), variant && plain);
    } catch (error) {
      const sessions = new CApiSessions(api, dynamicOperators, onCuda, files[0], await plain(), undefined);
      sessions.slower = withoutKernels(error);
      return sessions;
    }
  }

  /** Whether the outputs of a bucket need not be compared. */
  async isCompared(shape: BucketShape): Promise<boolean> {
    const { compared, key } = this.variant;
    const bucket = nameOfBucket(shape);
    const isKept = key && !compared.has(bucket) && (await readCache('comparisons', [...key, bucket])) !== undefined;
    if (isKept) compared.add(bucket);
    return compared.has(bucket);
  }

  /**
   * Opens no more sessions with this package's kernels.
   * @returns takes that back; undefined if none were to be opened
   */
  async dropKernels(error: CApiFailure): Promise<(() => void) | undefined> {
    if (!this.withoutKernels || this.slower) return undefined;
    const { variant } = this;
    this.slower = withoutKernels(error);
    this.variant = await this.withoutKernels();
    return () => {
      this.slower = undefined;
      this.variant = variant;
    };
  }

  /** @throws CApiFailure unless memory is short; then whatever ONNX Runtime reports. FilesChanged */
  async open(shape: BucketShape): Promise<BucketSession> {
    const { dynamicOperators } = this;
    if (this.onCuda && dynamicOperators.length > 0) {
      throw new CApiFailure(
        `the graph has ${dynamicOperators.join(', ')}, whose results have shapes that depend on values`,
      );
    }
    try {
      return new Guarded((await this.openSharing(shape)) ?? this.openOwn(shape));
    } catch (error) {
      throw failureOf(error);
    }
  }

  /**
   * @returns undefined if the constants cannot be shared, so that sessions need their own
   * @throws Error if memory is too small for the bucket; FilesChanged
   */
  private async openSharing(shape: BucketShape): Promise<BucketSession | undefined> {
    const { variant } = this;
    try {
      return await variant.sharing?.open(shape);
    } catch (error) {
      // Computing constants takes more memory for a while than a session's own, whatever the bucket.
      const isForBucket = isOutOfMemory(error) && !(error instanceof ConstantsFailure);
      if (isForBucket || error instanceof FilesChanged) throw error;
      // Whatever keeps constants from being shared, such as a session that needs their numbers to open, need not fail a session with its own.
      variant.sharing = undefined;
      return undefined;
    }
  }

  private openOwn(shape: BucketShape): BucketSession {
    const { graph, settings } = this.variant;
    return OrtSession.open(this.api, graph.source(shape), settings);
  }

  /**
   * Compares outputs of a bucket with those of other sessions, and keeps that they agree.
   * @param pairs of which the second is undefined where memory is too small for another session
   * @throws CApiFailure if two differ by more than rounding
   */
  async compare(
    shape: BucketShape,
    pairs: readonly (readonly [output: OutputRow, expected: OutputRow | undefined])[],
  ): Promise<void> {
    const { compared, key } = this.variant;
    const known = pairs.flatMap(([output, expected]) => (expected ? [{ output, expected }] : []));
    for (const { output, expected } of known) checkOutput(output, expected);
    const bucket = nameOfBucket(shape);
    compared.add(bucket);
    if (known.length > 0 && key) await writeCache('comparisons', [...key, bucket], { graph: this.file, bucket });
  }
}

function nameOfBucket({ shapes, indexed }: BucketShape): string {
  return JSON.stringify([...shapes, indexed]);
}

function withoutKernels(error: unknown): Slower {
  return { without: 'fused kernels', why: messageOf(error) };
}

/** What the outputs of a graph depend on: this package, the libraries, the GPU, and the graph's files. Undefined without a CUDA runtime. */
async function comparisonKey(
  { koffi, version: ofLibrary }: OrtApi,
  files: readonly string[],
  { source }: GraphSource,
  { device, searches = true, operators }: SessionSettings,
): Promise<readonly unknown[] | undefined> {
  const hardware = device.kind === 'cuda' ? gpuOf(koffi, device.index) : [];
  if (!hardware) return undefined;
  const stamps = await Promise.all(files.map(fileStamp));
  const graph = createHash('sha256').update(source()).update(KERNEL_SOURCE).digest('hex');
  return [version(), ofLibrary, device.kind, hardware, graph, stamps, searches, operators?.version ?? null];
}

function gpuOf(koffi: OrtApi['koffi'], index: number): readonly number[] | undefined {
  try {
    return CudaRuntime.load(koffi, index).describe();
  } catch {
    return undefined;
  }
}

/** @throws CApiFailure if two outputs differ by more than rounding */
export function checkOutput(output: OutputRow, expected: OutputRow): void {
  let [squares, differences] = [0, 0];
  expected.forEach((value, k) => {
    // A network that overflows does so in all sessions.
    if (!Number.isFinite(value) && Object.is(value, output[k])) return;
    squares += value ** 2;
    differences += (value - output[k]) ** 2;
  });
  const magnitude = expected instanceof Uint8Array ? IMAGE_MAGNITUDE : Math.sqrt(squares / expected.length);
  const difference = Math.sqrt(differences / expected.length) / magnitude;
  // Also false for NaN.
  if (!(difference <= MAX_DIFFERENCE) && differences !== 0) {
    throw new CApiFailure(`an output differs by ${difference.toPrecision(2)} of the values' magnitude`);
  }
}

/** A session whose failures, but for want of memory, are those of the C API. */
class Guarded implements BucketSession {
  constructor(private readonly session: BucketSession) {}

  allocate(...args: Parameters<BucketSession['allocate']>): ReturnType<BucketSession['allocate']> {
    try {
      return this.session.allocate(...args);
    } catch (error) {
      throw failureOf(error);
    }
  }

  async run(...args: Parameters<BucketSession['run']>): Promise<OutputRow> {
    return this.session.run(...args).catch((error: unknown) => {
      throw failureOf(error);
    });
  }

  close(): Promise<void> {
    return this.session.close();
  }
}

function failureOf(error: unknown): unknown {
  return isOutOfMemory(error) || error instanceof FilesChanged ? error : new CApiFailure(messageOf(error));
}
