/** The thread of a device process that gives signs of life, also while a call of the network blocks the process. */
import { workerData } from 'node:worker_threads';
import { SharedChannel } from './sharedChannel.js';

const BEAT_MS = 500;

const descriptor = workerData as number;
let beats = 0;
setInterval(() => SharedChannel.putHeartbeat(descriptor, ++beats), BEAT_MS);
