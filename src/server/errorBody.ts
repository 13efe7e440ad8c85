import { z } from 'zod';

/** The body of an error response, in the form of OpenAI's API. */
export const errorBody = z.object({
  error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string() }),
});

export type ErrorBody = z.output<typeof errorBody>;

/** The body of an error response, in the form of web UIs. */
export const webUiErrorBody = z.object({ error: z.string(), detail: z.string(), errors: z.string() });

export type WebUiErrorBody = z.output<typeof webUiErrorBody>;

/** Whether the errors of a path have the form of web UIs. */
export function hasWebUiErrors(path: string): boolean {
  return /^\/(sdapi|controlnet)\//.test(path);
}
