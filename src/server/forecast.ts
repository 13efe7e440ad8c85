import { Mutex } from 'async-mutex';
import { acquireOrAbort } from '../waiting.js';
import type { GenerateForecast } from '../pipeline/result.js';
import { endpoint, type Endpoint } from './endpoint.js';
import { fitSize } from './imageSize.js';
import { forecastAnswer, type ForecastAnswer } from './infoAnswer.js';
import { optionsOf } from './openai/options.js';
import { liveRequest } from './openai/schemas.js';
import type { Services } from './services.js';

/** The route that says what `auto` would choose. It loads and measures nothing. */
export function forecastEndpoint({ config, models }: Services): Endpoint {
  // Planning takes time from running requests, so one plan is made at a time.
  const turn = new Mutex();
  return endpoint({
    method: 'post',
    path: '/srds/v1/forecast',
    summary:
      'Forecasts a request of /srds/v1/generate with the sampler auto, from what is known of the devices. An initial image is ignored.',
    body: liveRequest(config),
    answer: forecastAnswer,
    handle: async (body, { signal }) => {
      const model = models.find(body.model);
      const pipeline = models.opened(model);
      if (!pipeline) return answerOf(undefined);
      const release = await acquireOrAbort(turn, signal);
      try {
        const given = optionsOf({ ...body, stream: false, partial_images: 0 });
        const { options } = fitSize(given, model.folder, config.maxPixels);
        return answerOf(await pipeline.forecast(options));
      } finally {
        release();
      }
    },
  });
}

function answerOf(known: GenerateForecast | undefined): Response {
  const forecast = known ? { ...known, reason: known.reason ?? null } : null;
  return Response.json({ forecast } satisfies ForecastAnswer);
}
