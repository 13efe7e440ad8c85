import type { GenerateEvent, Phase } from '../pipeline/result.js';

const FRAME_MS = 100;

/** What the line says while a run has no evaluation to report. */
const PHASES: Readonly<Record<Phase, string>> = {
  preparing: 'encoding the prompt',
  measuring: 'measuring the devices',
  planning: 'choosing the sampler',
  sampling: 'the first step',
};

/** Prints a warning on standard error, above the line of progress if there is one. */
export function warn(message: string, progress: Progress | undefined): void {
  const line = `srds: warning: ${message}`;
  if (progress) progress.print(line);
  else process.stderr.write(`${line}\n`);
}

/** A line on a terminal that follows a run: elapsed time, iteration, residual and evaluations. */
export class Progress {
  private readonly start = performance.now();
  private readonly timer: NodeJS.Timeout;
  private readonly done = new Set<number>();
  private iteration = '';
  private state = 'loading the model';

  constructor(
    private readonly stream: NodeJS.WriteStream,
    private readonly images: number,
  ) {
    this.timer = setInterval(() => this.render(), FRAME_MS);
    this.timer.unref();
    this.render();
  }

  /** Updates the line after an event of the run. */
  show(event: GenerateEvent): void {
    if (event.type === 'warning' || event.type === 'batch') return;
    if (event.type === 'phase') this.state = PHASES[event.phase];
    else if (event.type === 'image') {
      if (event.image === this.current()) this.iteration = '';
      this.done.add(event.image);
    }
    // With several images the line follows the first unfinished one.
    else if (event.image === this.current()) {
      const { critical, total, serial } = event.evaluations;
      const spent = `${critical} sequential evaluations of ${serial}, ${total} in all`;
      if (event.type === 'iteration') {
        const change =
          event.residual === undefined ? 'coarse sweep' : `change ${event.residual.toFixed(2)} grey levels`;
        this.iteration = `iteration ${event.iteration}, ${change}, `;
      }
      this.state = `${this.iteration}${spent}`;
    }
    this.render();
  }

  /** Sets the description of the current work, until the first event replaces it. */
  setState(state: string): void {
    this.state = state;
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
    const seconds = ((performance.now() - this.start) / 1000).toFixed(1);
    const of = this.images > 1 ? `image ${Math.min(this.current() + 1, this.images)}/${this.images}: ` : '';
    const line = `${seconds} s  ${of}${this.state}`;
    this.stream.write(`\r\x1b[K${line.slice(0, Math.max(1, (this.stream.columns || 80) - 1))}`);
  }
}
