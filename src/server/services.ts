import type { Logger } from 'pino';
import type { ServerConfig } from './config.js';
import type { Metrics } from './metrics.js';
import type { Models } from './models.js';
import type { Queue } from './queue.js';
import type { StoredImages } from './storedImages.js';

/** What the routes work with. */
export interface Services {
  readonly config: ServerConfig;
  readonly models: Models;
  readonly queue: Queue;
  readonly metrics: Metrics;
  readonly stored: StoredImages;
  readonly log: Logger;
  /** Aborted when what is under way is to be given up. */
  readonly stop: AbortSignal;
  /** Whether nothing new is taken any more. */
  readonly draining: () => boolean;
  /** What is being drawn, the oldest first, for those who ask how far it is. */
  readonly underWay: Set<Progress>;
}

/** How far a request is. */
export interface Progress {
  readonly id: string;
  readonly startedAt: number;
  /** Sequential evaluations so far, and those of the serial sampler. */
  critical: number;
  serial: number;
}
