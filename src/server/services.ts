import type { Logger } from 'pino';
import type { CurrentImages } from '../pipeline/currentImages.js';
import type { ServerConfig } from './config.js';
import type { Metrics } from './metrics.js';
import type { Models } from './models.js';
import type { Queue } from './queue.js';
import type { StoredImages } from './storedImages.js';

/** The objects that all routes share. */
export interface Services {
  readonly config: ServerConfig;
  readonly models: Models;
  readonly queue: Queue;
  readonly metrics: Metrics;
  readonly stored: StoredImages;
  readonly log: Logger;
  /** Aborted when the server ends its jobs. */
  readonly stop: AbortSignal;
  /** Whether the server shuts down and takes no new jobs. */
  readonly draining: () => boolean;
  /** The running jobs, the oldest first. */
  readonly underWay: Set<Progress>;
}

/** The progress of a job. */
export interface Progress {
  /** The id of the request. */
  readonly id: string;
  /** The name of the client's API key. */
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Sequential evaluations so far. */
  critical: number;
  /** Evaluations of the serial sampler. */
  serial: number;
  /** The images so far. */
  readonly current: CurrentImages;
  /** Ends the job with the images so far; undefined if it may not be ended in this way. */
  readonly interrupt: (() => Promise<void>) | undefined;
}
