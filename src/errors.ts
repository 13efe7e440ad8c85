/** What went wrong, by who can mend it. The command line maps each code to an exit code of its own. */
export type ErrorCode =
  /** an option or argument has a value that cannot be used */
  | 'INVALID_OPTION'
  /** the model folder, or a file it must have, is missing */
  | 'MODEL_NOT_FOUND'
  /** a file of the model folder is damaged, or describes a model that is not supported */
  | 'MODEL_INVALID'
  /** a result could not be written */
  | 'OUTPUT_FAILED'
  /** a device process failed or was killed */
  | 'ENGINE_FAILED';

/**
 * An error that a user can cause and mend: its message is one line that says what was expected, what was found and
 * what to do.
 */
export class SrdsError extends Error {
  override readonly name = 'SrdsError';

  constructor(
    readonly code: ErrorCode,
    readonly expected: string,
    readonly found: string,
    readonly remedy: string,
    options?: ErrorOptions,
  ) {
    super(oneLine(`expected ${expected}, found ${found}; ${remedy}`), options);
  }
}

/** `text` with every run of white space, line ends included, as one space. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

/** The message of anything that was thrown, on one line. */
export function messageOf(thrown: unknown): string {
  return oneLine(thrown instanceof Error ? thrown.message : String(thrown));
}

/** The operating system's code of a failed call (`ENOENT`, `EACCES`, ...), if `thrown` carries one. */
export function systemCode(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
