/** What went wrong, by who can mend it. The command line maps each code to an exit code of its own. */
export type ErrorCode =
  /** an option or argument has a value that cannot be used */
  | 'INVALID_OPTION'
  /** the model folder, or a file it must have, is missing */
  | 'MODEL_NOT_FOUND'
  /** a file of the model folder is damaged, or describes a model that is not supported */
  | 'MODEL_INVALID'
  /** a model could not be fetched from the hub */
  | 'DOWNLOAD_FAILED'
  /** a result could not be written */
  | 'OUTPUT_FAILED'
  /** a device process failed or was killed */
  | 'ENGINE_FAILED'
  /** a device is not there, or not ready for use */
  | 'DEVICE_UNAVAILABLE'
  /** a server cannot listen where it is to */
  | 'LISTEN_FAILED';

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

/** Characters of a message that may quote what it was given. */
const MOST_OF_ISSUE = 300;

/** What a schema found wrong, in one line: `points.0.rows: expected number, received string`. */
export function issueOf({
  path,
  message,
}: {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}): string {
  const short = message.length > MOST_OF_ISSUE ? `${message.slice(0, MOST_OF_ISSUE)}...` : message;
  const what = oneLine(short.replace(/^Invalid input: /, ''));
  return path.length === 0 ? what : `${path.join('.')}: ${what}`;
}

/** The message of anything that was thrown, on one line; of a failed system call without the call and its path. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return oneLine(String(thrown));
  return oneLine('syscall' in thrown ? thrown.message.split(', ')[0] : thrown.message);
}

/** The operating system's code of a failed call (`ENOENT`, `EACCES`, ...), if `thrown` carries one. */
export function systemCode(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/**
 * `value`, if it is a whole number in a range.
 * @param what what it is, for the message: `a number of images`
 * @throws SrdsError INVALID_OPTION otherwise
 */
export function wholeNumber(what: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
  throw new SrdsError('INVALID_OPTION', `${what}, whole and ${range}`, String(value), 'choose one in that range');
}

/**
 * `value`, if it is a finite number of at least 0.
 * @throws SrdsError INVALID_OPTION otherwise
 */
export function nonNegative(what: string, value: number): number {
  if (Number.isFinite(value) && value >= 0) return value;
  throw new SrdsError('INVALID_OPTION', `${what} of at least 0`, String(value), 'choose a number from 0 on');
}

/**
 * `value`, if it is a number in a range.
 * @throws SrdsError INVALID_OPTION otherwise
 */
export function numberBetween(what: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max) return value;
  throw new SrdsError('INVALID_OPTION', `${what} from ${min} to ${max}`, String(value), 'choose one in that range');
}
