/** How a command reacts to SIGINT and SIGTERM. */
export interface Shutdown {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Milliseconds until the process exits after that, whether or not the command has ended. */
  graceMs: number;
  /** Whether a signal is the normal way to end the command, so that its exit code is 0. */
  asPlanned: boolean;
}
