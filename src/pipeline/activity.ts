/** What goes on in one or several pipelines: runs from their preparation on, measuring, and forecasts, which take the main thread's time. */
export class Activity {
  private begun = 0;
  private underWay = 0;

  /** Counts work as long as it lasts. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.begun++;
    this.underWay++;
    try {
      return await work();
    } finally {
      this.underWay--;
    }
  }

  /** Called by work that is under way. @returns whether nothing else has gone on since, when it is called again */
  watch(): () => boolean {
    const { begun, underWay } = this;
    return () => underWay === 1 && this.begun === begun;
  }
}
