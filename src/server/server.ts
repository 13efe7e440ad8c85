import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { pino, type Logger } from 'pino';
import { messageOf, SrdsError } from '../errors.js';
import { codec } from '../image/codec.js';
import { areEndpoints, CPU } from '../engine/device.js';
import { findDevices } from '../engine/local/probe.js';
import { inspectModel } from '../model/inspect.js';
import { BUNDLED_MODEL, readModelFolder, type ModelFolder } from '../model/modelFolder.js';
import { openModel } from '../model/openModel.js';
import { openOnDevices } from '../pipeline/options/openOnDevices.js';
import { Activity } from '../pipeline/activity.js';
import { Pipeline } from '../pipeline/pipeline.js';
import { causeOf } from './apiError.js';
import { createApp } from './app.js';
import type { ServerConfig } from './config.js';
import { listen } from './listen.js';
import { Metrics } from './metrics.js';
import { Models, type ServedModel } from './models.js';
import { readPage } from './page.js';
import { Queue } from './queue.js';
import type { Services } from './services.js';
import { StoredImages } from './storedImages.js';

const STORED_BYTES = 64 * 2 ** 20;
const POLL_MS = 50;
const RETRY_MS = 10_000;
/** Time to send the error answers of jobs that did not end while draining. */
const LAST_ANSWERS_MS = 2000;
const CONCURRENCY = { cpu: 2, gpu: 16 };

/** A running server. */
export interface RunningServer {
  readonly url: string;
  /** Resolves with an error if the first model can never be loaded, and with undefined when the server ends. */
  readonly unusable: Promise<SrdsError | undefined>;
  /**
   * Reads the models anew, and opens them again, with new device processes, for later requests. A model that does not open stays as it
   * was; the log says why.
   */
  restart(): Promise<void>;
  /** Takes no new jobs, waits for the others up to the configured time, and ends. */
  close(): Promise<void>;
}

/** Options of startServer besides the configuration. */
export interface StartOptions {
  readonly log: Logger;
  /** Aborts the download of models. */
  readonly signal: AbortSignal;
}

/** Creates a log of JSON lines on standard output. */
export function createLog(level: ServerConfig['logLevel']): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime });
}

/**
 * Starts a server. It listens when this returns, and takes requests when the first model is loaded.
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED, INVALID_OPTION, DEVICE_UNAVAILABLE, LISTEN_FAILED
 * @example
 * const config = parseConfig([{ name: 'the program', settings: { port: 0 } }]);
 * const server = await startServer(config, { log: createLog('info'), signal: new AbortController().signal });
 * console.log(server.url);
 * await server.close();
 */
export async function startServer(config: ServerConfig, { log, signal }: StartOptions): Promise<RunningServer> {
  const onWarning = (message: string) => log.warn(message);
  const onDevices = await openOnDevices(config);
  const { devices: wanted = [CPU] } = onDevices;
  const parts = { withoutNetwork: wanted !== 'auto' && areEndpoints(wanted) };
  const served = await readModels(config, parts, log, signal);
  const devices = await findDevices(wanted, onWarning);
  const metrics: Metrics = new Metrics({
    srds_queue_length: { help: 'Requests that wait in the queue', value: () => queue.waitingCount },
    srds_running: { help: 'Requests that run', value: () => queue.runningCount },
    srds_models_loaded: { help: 'Models in memory', value: () => models.loadedNames.length },
  });
  const stop = new AbortController();
  // Every request adds a listener.
  setMaxListeners(0, stop.signal);
  const activity = new Activity();
  const open = ({ folder }: ServedModel) =>
    Pipeline.open(folder, {
      ...onDevices,
      activity,
      devices,
      signal: stop.signal,
      onBatch: (report) => metrics.batch(report),
      onRestart: (device) => metrics.deviceRestart(device),
      onWarning,
    });
  const read = async ({ folder }: ServedModel) => servedModel(await readModelFolder(folder.path, folder.name), parts);
  const models = new Models(served, { read, open }, config.memoryBytes);
  const concurrency = devices.every(({ kind }) => kind === 'cpu') ? CONCURRENCY.cpu : CONCURRENCY.gpu;
  const queue = new Queue(config.concurrency ?? concurrency, config.queue);
  let draining = false;
  const services: Services = {
    config,
    models,
    queue,
    metrics,
    stored: new StoredImages(STORED_BYTES),
    log,
    stop: stop.signal,
    draining: () => draining,
    underWay: new Set(),
  };
  const { server, url, openRequests } = await listen(createApp(services, await readPage()), config.host, config.port);
  log.info({ url, models: served.map(({ name }) => name), device: config.device }, 'listening');
  return {
    url,
    unusable: keepReady(models, stop.signal, log),
    restart: async () => {
      log.info('reading the models anew');
      await models.reload((model, error) => log.error({ model, error: messageOf(error) }, 'the model stays as it was'));
      log.info('read the models');
    },
    close: async () => {
      draining = true;
      log.info({ running: queue.runningCount, waiting: queue.waitingCount }, 'draining');
      const end = performance.now() + config.drain * 1000;
      const busy = () => queue.runningCount + queue.waitingCount + openRequests() > 0;
      while (busy() && performance.now() < end) await delay(POLL_MS);
      stop.abort();
      const lastEnd = performance.now() + LAST_ANSWERS_MS;
      while (busy() && performance.now() < lastEnd) await delay(POLL_MS);
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
      await models.close();
      log.info('ended');
    },
  };
}

/** The parts of models that are loaded here. */
interface LoadedParts {
  /** Whether only endpoints run the denoising network. */
  readonly withoutNetwork: boolean;
}

async function readModels(
  { models, memoryBytes }: ServerConfig,
  parts: LoadedParts,
  log: Logger,
  signal: AbortSignal,
): Promise<ServedModel[]> {
  const served: ServedModel[] = [];
  for (const name of models.length > 0 ? models : [BUNDLED_MODEL]) {
    const folder = await openModel(name, { signal, onWarning: (message) => log.warn(message) });
    if (served.some((other) => other.name === folder.name)) {
      throw new SrdsError('INVALID_OPTION', 'models with different names', `${folder.name} twice`, 'rename a folder');
    }
    served.push(servedModel(folder, parts));
  }
  for (const { name, bytes } of served) {
    if (bytes > memoryBytes)
      log.warn({ model: name, bytes, memoryBytes }, 'the weights of this model exceed the memory limit');
  }
  return served;
}

function servedModel(folder: ModelFolder, { withoutNetwork }: LoadedParts): ServedModel {
  const { weights } = inspectModel(folder);
  const bytes = weights.all + weights.vaeEncoder - (withoutNetwork ? weights.network : 0);
  return { name: folder.name, folder, bytes };
}

/**
 * Loads the first model, and again whenever it cannot serve, such as for want of a device.
 * @returns the error of a first model that cannot be loaded whatever changes around it; undefined when the signal is aborted
 */
async function keepReady(models: Models, signal: AbortSignal, log: Logger): Promise<SrdsError | undefined> {
  const isReady = () => models.readiness === 'ok';
  let wasReady = false;
  while (!signal.aborted) {
    try {
      if (!isReady()) {
        // The image codec loads slowly too.
        await codec();
        await models.warm(signal);
        if (isReady()) log.info('ready');
      }
      wasReady ||= isReady();
    } catch (error) {
      if (error === signal.reason) return undefined;
      const cause = causeOf(error);
      if (!wasReady && cause instanceof SrdsError && cause.code === 'MODEL_INVALID') return cause;
      log.error({ error: messageOf(causeOf(error)) }, 'loading the first model failed; retrying');
    }
    await delay(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
  return undefined;
}
