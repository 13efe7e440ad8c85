import { z } from 'zod';

/** The body of an error response, in the form of OpenAI's API. */
export const errorBody = z.object({
  error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string() }),
});

export type ErrorBody = z.output<typeof errorBody>;
