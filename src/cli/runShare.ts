import type { GenerateEvent, ImageEvaluations } from '../pipeline/result.js';
import type { EvaluationCount } from '../run/events.js';

/** The most that is shown of a run that takes more than was expected. */
const OVERDUE = 0.95;
/** Before this share, or this many seconds, nothing is said of what is left. */
const LEAST_SHARE = 0.05;
const LEAST_SECONDS = 1;

/** How much of a run's sampling is done, and how long the rest takes, from the events of the run. */
export class RunShare {
  private expected: EvaluationCount | undefined;
  private begin: number | undefined;
  private largest = 0;
  private readonly counts = new Map<number, ImageEvaluations>();
  private readonly done = new Set<number>();

  /**
   * @param images number of images
   * @param now the clock, in milliseconds
   */
  constructor(
    private readonly images: number,
    private readonly now: () => number,
  ) {}

  event(event: GenerateEvent): void {
    if (event.type === 'phase' && event.phase === 'sampling') {
      this.expected = event.expected;
      this.begin = this.now();
    }
    if (event.type === 'image') this.done.add(event.image);
    if (event.type === 'evaluation' || event.type === 'iteration') this.counts.set(event.image, event.evaluations);
  }

  /**
   * The share of sampling that is done, from 0 to 1; it never falls. Without a forecast it is the share of the serial sampler's
   * evaluations, of which a run that converges takes fewer.
   */
  get share(): number {
    const all = [...this.counts].filter(([image]) => !this.done.has(image));
    const sum = all.reduce((total, [, count]) => total + this.shareOf(count), this.done.size);
    this.largest = Math.max(this.largest, sum / this.images);
    return this.largest;
  }

  /** Seconds that are left; undefined as long as that cannot be said. */
  get secondsLeft(): number | undefined {
    const { share, expected, begin } = this;
    if (!expected || begin === undefined || share >= OVERDUE || share < LEAST_SHARE) return undefined;
    const spent = (this.now() - begin) / 1000;
    return spent < LEAST_SECONDS ? undefined : (spent * (1 - share)) / share;
  }

  /** Both counts must be reached: time follows the one on devices with room for a batch, the other on those without. */
  private shareOf({ critical, total, serial }: ImageEvaluations): number {
    const { expected = { critical: serial, total: 0 } } = this;
    const shares = [critical / expected.critical, ...(expected.total > 0 ? [total / expected.total] : [])];
    const share = Math.min(...shares);
    return share >= 1 && critical < serial ? OVERDUE : Math.min(1, share);
  }
}
