import type { GenerateEvent, Phase } from '../pipeline/result.js';
import { RunShare } from './runShare.js';

const FRAME_MS = 100;
const BAR_WIDTH = 20;

/** What the line says while a run does something else than sampling. */
const PHASES: Readonly<Record<Phase, string>> = {
  preparing: 'encoding the prompt',
  measuring: 'measuring the devices',
  planning: 'choosing the sampler',
  sampling: 'sampling',
  decoding: 'decoding',
};

/** Prints a warning on standard error, above the line of progress if there is one. */
export function warn(message: string, progress: Progress | undefined): void {
  const line = `srds: warning: ${message}`;
  if (progress) progress.print(line);
  else process.stderr.write(`${line}\n`);
}

/** A terminal that a line is kept on. */
export type ProgressStream = Pick<NodeJS.WriteStream, 'write' | 'columns'>;

/** A line on a terminal that follows a run: elapsed time, what it does, the share that is done, and what is left. */
export class Progress {
  private readonly start: number;
  private readonly timer: NodeJS.Timeout;
  private readonly run: RunShare;
  private readonly done = new Set<number>();
  private phase: Phase | undefined;
  private iteration = '';
  private state = 'loading the model';
  /** Share of the current work, from 0 to 1; undefined if it is not known. */
  private stateShare: number | undefined;

  /** @param now the clock, in milliseconds */
  constructor(
    private readonly stream: ProgressStream,
    private readonly images: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.start = now();
    this.run = new RunShare(images, now);
    this.timer = setInterval(() => this.render(), FRAME_MS);
    this.timer.unref();
    this.render();
  }

  /** Updates the line after an event of the run. */
  show(event: GenerateEvent): void {
    if (event.type === 'warning' || event.type === 'plan' || event.type === 'batch') return;
    this.run.event(event);
    if (event.type === 'phase') {
      this.phase = event.phase;
      this.setState(PHASES[event.phase]);
    } else if (event.type === 'image') {
      if (event.image === this.current()) this.iteration = '';
      this.done.add(event.image);
      this.phase = this.done.size < this.images ? 'sampling' : undefined;
      this.setState('finishing');
    } else {
      this.phase = 'sampling';
      // With several images the line follows the first unfinished one.
      if (event.type === 'iteration' && event.image === this.current()) {
        const { iteration, residual } = event;
        const change = residual === undefined ? '' : `, change ${residual.toFixed(2)} grey levels`;
        this.iteration = iteration === 0 ? 'coarse sweep done' : `iteration ${iteration}${change}`;
      }
    }
    this.render();
  }

  /**
   * Sets the description of the current work, until the first event replaces it.
   * @param share of it that is done, from 0 to 1
   */
  setState(state: string, share?: number): void {
    this.state = state;
    this.stateShare = share;
  }

  /** Prints a permanent line above this one. */
  print(line: string): void {
    this.stream.write(`\r\x1b[K${line}\n`);
    this.render();
  }

  /** Removes the line and stops updating it. */
  end(): void {
    clearInterval(this.timer);
    this.stream.write('\r\x1b[K');
  }

  /** Index of the first unfinished image. */
  private current(): number {
    let image = 0;
    while (this.done.has(image)) image++;
    return image;
  }

  private render(): void {
    const seconds = `${((this.now() - this.start) / 1000).toFixed(1)} s`;
    const parts = this.phase === 'sampling' ? this.samplingParts() : this.stateParts();
    this.stream.write(`\r\x1b[K${fitted([seconds, ...parts], Math.max(1, (this.stream.columns || 80) - 1))}`);
  }

  private stateParts(): string[] {
    return [this.state, ...(this.stateShare === undefined ? [] : [bar(this.stateShare)])];
  }

  private samplingParts(): string[] {
    const { images, run, iteration } = this;
    // Images of one call share batches, so they go on together.
    const of = images > 1 ? ` ${images} images${this.done.size > 0 ? `, ${this.done.size} done` : ''}` : '';
    const left = run.secondsLeft;
    return [
      `${PHASES.sampling}${of}`,
      bar(run.share),
      ...(left === undefined ? [] : [`about ${durationText(left)} left`]),
      ...(iteration === '' ? [] : [iteration]),
    ];
  }
}

/** As many of the parts as fit in so many columns, or the start of the first two. */
function fitted(parts: readonly string[], width: number): string {
  const line = parts.join('  ');
  if (line.length <= width) return line;
  return parts.length > 2 ? fitted(parts.slice(0, -1), width) : `${line.slice(0, width - 1)}…`;
}

/** A bar with its share in percent. */
function bar(share: number): string {
  const full = Math.round(Math.min(1, share) * BAR_WIDTH);
  const percent = String(Math.floor(100 * share)).padStart(3);
  return `${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)} ${percent} %`;
}

function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
