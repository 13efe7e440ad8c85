import { ServerError } from './api.js';
import type { FormControl } from './parameters.js';

/** An error in words for people. @param form the controls that a message may name */
export function explain(error: unknown, form: readonly FormControl[]): string {
  if (!(error instanceof ServerError)) return `Something went wrong on this page: ${textOf(error)}.`;
  const { status, code, param } = error.details;
  const { message } = error;
  const control = form.find(({ field }) => field === param);
  switch (status) {
    case undefined:
      return 'The connection to the server broke.';
    case 401:
      return 'The server does not know this API key.';
    case 403:
      return 'The server does not take requests from this address. Open the page under the name that the server has itself.';
    case 408:
      return 'The request arrived too slowly. Try again.';
    case 413:
      return 'The initial image is too large for this server. Take a smaller one.';
    case 429:
      return 'The queue of the server is full.';
    case 504:
      return 'Drawing took longer than this server allows. Fewer steps, a smaller size or fewer images take less time.';
    case 503:
      return code === 'shutting_down'
        ? 'The server is shutting down.'
        : `The server cannot draw at the moment: ${message}.`;
  }
  if (code === 'internal_error') return 'The server failed. Its log says why.';
  if (code === 'model_not_found') return 'The server no longer has this model. Choose another one.';
  if (code === 'invalid_image') return `The image cannot be used: ${message}.`;
  if (code === 'invalid_size') return `This size does not work: ${message}.`;
  if (control) return `${control.label}: ${problemIn(message)}.`;
  return `The server refused: ${message}.`;
}

/** The problem in a message such as "expected at most 250 for steps, found 300; see /openapi.json", without the names of the request. */
function problemIn(message: string): string {
  const invalid = /^expected (.*) for [\w.]+, found (.*); see \/openapi\.json$/.exec(message);
  if (invalid) return `expected ${invalid[1]}, found ${invalid[2]}`;
  const found = /^expected a valid request, found (?:[\w.]+: )?(.*); see \/openapi\.json$/.exec(message)?.[1];
  return found ?? message;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
