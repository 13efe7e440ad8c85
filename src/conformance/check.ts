/** One thing that must hold: hand `name` and `run` to a test runner. */
export interface Check {
  readonly name: string;
  /** Rejects, with what was expected and found, if it does not hold. */
  readonly run: () => Promise<void>;
}
