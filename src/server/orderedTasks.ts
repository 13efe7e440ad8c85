import pLimit from 'p-limit';

/** Runs tasks one at a time, in the order in which they were added. */
export class OrderedTasks {
  private readonly limit = pLimit(1);
  private readonly tasks: Promise<void>[] = [];

  add(task: () => Promise<void>): void {
    const running = this.limit(task);
    // `drained` reports the failure; until then it must not be an unhandled rejection.
    running.catch(() => undefined);
    this.tasks.push(running);
  }

  /** Waits for all tasks. @throws the error of the first task that failed */
  async drained(): Promise<void> {
    await Promise.all(this.tasks);
  }
}
