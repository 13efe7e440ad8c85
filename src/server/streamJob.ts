import { logFailure } from './apiError.js';
import type { Caller } from './endpoint.js';
import type { EventStream } from './eventStream.js';
import { generate, type GenerateJob, type GenerateJobEvent, type GenerationResult } from './generate.js';
import type { Services } from './services.js';

/** Writes the events of a job to a stream. */
export interface JobWriter {
  write(event: GenerateJobEvent): void;
  /** Sends the result after all pending events. */
  finish(result: GenerationResult): Promise<void>;
}

/**
 * Runs a job and answers with a stream of its events. An error before the job is queued is thrown; a later one is an `error` event.
 * @throws ApiError, SrdsError as generate does
 */
export async function streamJob<Events extends object>(
  services: Services,
  job: GenerateJob,
  events: EventStream<Events>,
  writer: JobWriter,
  { follow }: Pick<Caller, 'follow'>,
): Promise<Response> {
  const client = AbortSignal.any([job.client, events.closed]);
  await new Promise<void>((resolve, reject) => {
    let isStream = false;
    const onEvent = (event: GenerateJobEvent) => {
      if (event.type === 'queued') {
        isStream = true;
        resolve();
      }
      writer.write(event);
    };
    generate(services, { ...job, client }, onEvent)
      .then((result) => writer.finish(result))
      .catch((error: unknown) => {
        // A failure before the stream is the response's, which logs it.
        reject(error);
        if (isStream) logFailure(services.log, job.id, error);
        events.fail(error);
      })
      .finally(() => events.end());
  });
  follow(events.outcome);
  return events.response();
}
