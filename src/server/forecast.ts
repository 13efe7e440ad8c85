import { Mutex } from 'async-mutex';
import { acquireOrAbort } from '../waiting.js';
import type { GenerateForecast } from '../pipeline/result.js';
import { ApiError } from './apiError.js';
import { endpoint, type Endpoint } from './endpoint.js';
import { fitSize } from './imageSize.js';
import { forecastAnswer, type ForecastAnswer } from './infoAnswer.js';
import { liveOptionsOf } from './openai/options.js';
import { liveRequest } from './openai/schemas.js';
import { withSteps } from './modelSteps.js';
import type { Services } from './services.js';

/** Forecasts that may be made or wait. Pages ask for one at a time, and abort it when the form changes. */
const MAX_PENDING = 8;

/** The route that says what `auto` would choose. It loads and measures nothing. */
export function forecastEndpoint({ config, models }: Services): Endpoint {
  // Planning takes time from running requests, so one plan is made at a time.
  const turn = new Mutex();
  let pending = 0;
  return endpoint({
    method: 'post',
    path: '/srds/v1/forecast',
    summary:
      'Forecasts a request of /srds/v1/generate with the sampler auto, from what is known of the devices. An initial image is ignored.',
    body: liveRequest(config),
    answer: forecastAnswer,
    handle: async (body, { signal }) => {
      if (pending >= MAX_PENDING) throw tooMany();
      pending++;
      try {
        const release = await acquireOrAbort(turn, signal);
        try {
          // Models may be unloaded or read anew while a request waits.
          const model = models.find(body.model);
          const given = liveOptionsOf(body);
          const { folder } = model;
          const { options } = fitSize(withSteps(given, folder, config.maxSteps), folder, config.maxPixels);
          return answerOf(await models.opened(model)?.forecast(options));
        } finally {
          release();
        }
      } finally {
        pending--;
      }
    },
  });
}

function tooMany(): ApiError {
  return new ApiError(
    429,
    'too_many_forecasts',
    `expected fewer than ${MAX_PENDING} forecasts that wait, found that many; retry in 1 s`,
    null,
    { 'retry-after': '1' },
  );
}

function answerOf(known: GenerateForecast | undefined): Response {
  const forecast = known ? { ...known, reason: known.reason ?? null } : null;
  return Response.json({ forecast } satisfies ForecastAnswer);
}
