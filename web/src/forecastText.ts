import type { ForecastAnswer } from '../../src/server/infoAnswer.js';
import { secondsText } from './progress.js';

/** A forecast, in words; undefined where nothing is known. */
export function forecastText({ forecast }: ForecastAnswer): string | undefined {
  if (!forecast) return undefined;
  const { sampler, reason, seconds, serialSeconds } = forecast;
  const why = reason === null ? '.' : `: ${reason}.`;
  if (sampler === 'serial') return `About ${secondsText(seconds)} with the serial sampler, which auto would take${why}`;
  const serial = `about ${secondsText(serialSeconds)} with the serial sampler`;
  return `About ${secondsText(seconds)} with ${sampler}, which auto would take, and ${serial}${why}`;
}
