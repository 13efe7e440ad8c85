import { z } from 'zod';

/** Evaluations of the network: sequential ones, all, and those of the serial sampler. */
export const counts = z.object({ critical: z.int(), total: z.int(), serial: z.int() });

/** How an image was generated; extends OpenAI's fields. Residuals are in grey levels. */
export const srdsInfo = z.object({
  status: z.enum(['converged', 'exact', 'maxIterations', 'aborted']),
  sampler: z.string(),
  iterations: z.int(),
  residuals: z.array(z.number()),
  evaluations: counts,
});
