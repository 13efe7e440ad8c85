/** How a command is ended by a signal. */
export interface Shutdown {
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** How long the command may take to end in good order then. */
  graceMs: number;
  /** Whether to be ended is how the command is meant to end. */
  asPlanned: boolean;
}
