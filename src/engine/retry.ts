import { SrdsError } from '../errors.js';

/**
 * Why a device did not run a batch that another device, or the same one later, may run. `unavailable`: it cannot be reached. `busy`: it has no
 * room. `faulty`: it refused the batch, or its result was wrong. `lost`: it will not recover by itself. `gone`: it was lost
 * before it was given the batch.
 */
export type FailureKind = 'unavailable' | 'busy' | 'faulty' | 'lost' | 'gone';

/** A failure of a device. Batches are pure, so they may run again. */
export class DeviceFailure extends SrdsError {
  /** @param retryAfter seconds after which the device wants to be asked again */
  constructor(
    readonly kind: FailureKind,
    expected: string,
    found: string,
    remedy: string,
    readonly retryAfter?: number,
  ) {
    super('ENGINE_FAILED', expected, found, remedy);
  }
}

/** The failures of a batch so far. */
export interface Failures {
  readonly kind: FailureKind;
  readonly retryAfter?: number | undefined;
  /** Failures of the batch, this one included. */
  readonly count: number;
  /** Those among them in which a device was faulty. */
  readonly faults: number;
  /** Milliseconds since the batch was started. */
  readonly elapsed: number;
  /** Whether a device is ready that has not failed the batch. */
  readonly hasOther: boolean;
}

/** Devices that may fail a batch before the batch itself counts as the cause. */
const MAX_FAULTS = 3;
/** Milliseconds for which a batch waits for a device that takes it. A server that starts again takes some of them to load its model. */
const PATIENCE = 120_000;
const FIRST_DELAY = 100;
const MAX_DELAY = 3000;

/**
 * Milliseconds until a batch should run again: none on a device that has not failed it, else growing ones, shortened at random so that
 * clients do not return together.
 * @param random from 0 to 1
 * @returns undefined if the batch should fail
 */
export function retryDelay(failures: Failures, random: number): number | undefined {
  const { kind, retryAfter = 0, count, faults, elapsed, hasOther } = failures;
  if (faults >= MAX_FAULTS) return undefined;
  if (hasOther) return 0;
  // A device that is gone is given a batch only where all are.
  if (kind === 'gone' || elapsed >= PATIENCE) return undefined;
  // Others that are out may be waited for; if there are none, the batch fails before a probe finds this one ready.
  if (kind === 'lost') return 0;
  const backoff = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** (count - 1)) * (1 - random / 2);
  return kind === 'busy' ? Math.max(backoff, Math.min(1000 * retryAfter, PATIENCE - elapsed)) : backoff;
}
