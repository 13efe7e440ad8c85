import type { z } from 'zod';
import { encodePng } from '../../image/png.js';
import type { Progress, Services } from '../services.js';
import type { progressAnswer } from './schemas.js';

type ProgressAnswer = z.output<typeof progressAnswer>;

/** The progress of a client's oldest running job. @param withImage whether the image so far is decoded */
export async function progressOf(
  { underWay, queue }: Pick<Services, 'underWay' | 'queue'>,
  key: string,
  withImage: boolean,
): Promise<ProgressAnswer> {
  const job = jobsOf(underWay, key).at(0);
  const share = job && job.serial > 0 ? Math.min(1, job.critical / job.serial) : 0;
  const spent = job ? (Date.now() - job.startedAt) / 1000 : 0;
  const image = withImage ? await job?.current.show(0) : undefined;
  return {
    progress: share,
    eta_relative: share > 0 ? (spent / share) * (1 - share) : 0,
    state: {
      job: job?.id ?? '',
      job_count: underWay.size + queue.waitingCount,
      job_no: 0,
      sampling_step: job?.critical ?? 0,
      sampling_steps: job?.serial ?? 0,
      skipped: false,
      interrupted: false,
    },
    current_image: image ? (await encodePng(image)).toString('base64') : null,
    textinfo: null,
  };
}

/** Ends a client's running jobs of this API; they answer with their images so far. */
export async function interrupt({ underWay }: Pick<Services, 'underWay'>, key: string): Promise<void> {
  await Promise.all(jobsOf(underWay, key).flatMap(({ interrupt: end }) => (end ? [end()] : [])));
}

function jobsOf(underWay: ReadonlySet<Progress>, key: string): Progress[] {
  return [...underWay].filter((job) => job.key === key);
}
