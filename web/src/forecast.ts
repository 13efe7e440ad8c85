import { effect, signal } from '@preact/signals';
import { getForecast } from './api.js';
import { connection, form, key } from './connection.js';
import { forecastText } from './forecastText.js';
import { activeJobs } from './jobs.js';
import { requestOf } from './parameters.js';
import { parameters } from './settings.js';
import { source } from './source.js';

/** Time without a change of the form after which to ask, in milliseconds. */
const PAUSE_MS = 500;

/**
 * What to expect of the form's values with the sampler auto, in words; undefined where the server knows nothing. While the form changes, it
 * is the last answer.
 */
export const forecast = signal<string | undefined>(undefined);

/** Asks the server for a forecast whenever the form has changed or runs have ended. */
export function followForecast(): void {
  effect(() => {
    const given = parameters.value;
    // An initial image leaves out steps, and while images are drawn nothing should slow them down.
    if (given.sampler !== 'auto' || source.value || activeJobs.value.length > 0 || connection.value !== 'connected') {
      forecast.value = undefined;
      return;
    }
    const [request, apiKey, left] = [requestOf(form.value, given, false), key.value, new AbortController()];
    const timer = setTimeout(() => {
      getForecast(request, apiKey, left.signal).then(
        (answer) => (forecast.value = forecastText(answer)),
        () => {
          // What is wrong with the form is said when it is used. A request that was aborted for the next one says nothing.
          if (!left.signal.aborted) forecast.value = undefined;
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      left.abort();
    };
  });
}
