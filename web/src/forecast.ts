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

/** What to expect of the form's values with the sampler auto, in words; undefined where the server knows nothing. */
export const forecast = signal<string | undefined>(undefined);

/** Asks the server for a forecast whenever the form has changed or runs have ended. */
export function followForecast(): void {
  effect(() => {
    const given = parameters.value;
    forecast.value = undefined;
    // An initial image leaves out steps, and while images are drawn nothing should slow them down.
    if (given.sampler !== 'auto' || source.value || activeJobs.value.length > 0 || connection.value !== 'connected')
      return;
    const [request, apiKey, left] = [requestOf(form.value, given, false), key.value, new AbortController()];
    const timer = setTimeout(() => {
      getForecast(request, apiKey, left.signal).then(
        (answer) => (forecast.value = forecastText(answer)),
        // What is wrong with the form is said when it is used.
        () => undefined,
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      left.abort();
    };
  });
}
