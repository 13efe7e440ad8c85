/** One requirement. Pass `name` and `run` to a test runner. */
export interface Check {
  readonly name: string;
  /** Rejects with an AssertionError if the requirement is not met. */
  readonly run: () => Promise<void>;
}
