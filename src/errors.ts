/** Kinds of errors that a user can fix. The command line has an exit code for each. */
export type ErrorCode =
  /** An option or argument has an unusable value. */
  | 'INVALID_OPTION'
  /** There is no model, or it lacks an optional part that a run needs. */
  | 'MODEL_NOT_FOUND'
  /** A file of the model is missing or damaged, or describes an unsupported model. */
  | 'MODEL_INVALID'
  /** A model could not be downloaded from the hub. */
  | 'DOWNLOAD_FAILED'
  /** A result could not be written. */
  | 'OUTPUT_FAILED'
  /** A device process failed or was killed. */
  | 'ENGINE_FAILED'
  /** A device is missing or cannot be used. */
  | 'DEVICE_UNAVAILABLE'
  /** The server cannot listen on its address. */
  | 'LISTEN_FAILED';

/**
 * An error that a user can cause and fix. Its message is one line: `expected <expected>, found <found>; <remedy>`.
 * @example
 * try {
 *   await Pipeline.open('no-such-folder');
 * } catch (error) {
 *   if (error instanceof SrdsError && error.code === 'MODEL_NOT_FOUND') console.error(error.remedy);
 * }
 */
export class SrdsError extends Error {
  override readonly name = 'SrdsError';

  /**
   * @param code kind of the error
   * @param expected what was expected
   * @param found what was found instead
   * @param remedy what the user can do
   */
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

/** `text` on one line: each run of white space becomes one space. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

/** A count of things, in words. @param what one of them */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** A text, cut off after so many characters. */
export function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}...` : text;
}

/** Longest message of a schema, in characters. It may quote its input. */
const MAX_ISSUE_LENGTH = 300;

/** An issue of a schema as one line: `points.0.rows: expected number, received string`. */
export function issueOf({
  path,
  message,
}: {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}): string {
  const what = oneLine(shortened(message, MAX_ISSUE_LENGTH).replace(/^Invalid input: /, ''));
  return path.length === 0 ? what : `${path.join('.')}: ${what}`;
}

/** What a schema's own message says that it expects; undefined of other messages. */
export function expectedBy(message: string): string | undefined {
  return /^expected (.*)$/.exec(message)?.[1];
}

/** The message of a thrown value, on one line. That of a failed system call omits the call and its path. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return oneLine(String(thrown));
  return oneLine('syscall' in thrown ? thrown.message.split(', ')[0] : thrown.message);
}

/** The operating system's error code (`ENOENT`, `EACCES`, ...); undefined if `thrown` has none. */
export function systemCode(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Whether a system call failed because there is no such file. */
export function isMissing(error: unknown): boolean {
  return systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR';
}

/** What to do about a file that cannot be read. @param otherwise the remedy if the file exists and this user may read it */
export function fileRemedy(error: unknown, otherwise: string): string {
  if (isMissing(error)) return 'check the path';
  const isForbidden = systemCode(error) === 'EACCES' || systemCode(error) === 'EPERM';
  return isForbidden ? 'grant this user access to it' : otherwise;
}

/**
 * Checks that a value is a whole number from `min` to `max`.
 * @param what description for the error message, such as `a number of images`
 * @returns `value`
 * @throws SrdsError INVALID_OPTION if it is not
 */
export function wholeNumber(what: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
  throw new SrdsError('INVALID_OPTION', `${what}, whole and ${range}`, String(value), 'choose one in that range');
}

/**
 * Checks that a value is a finite number of at least 0.
 * @param what description for the error message
 * @returns `value`
 * @throws SrdsError INVALID_OPTION if it is not
 */
export function nonNegative(what: string, value: number): number {
  if (Number.isFinite(value) && value >= 0) return value;
  throw new SrdsError('INVALID_OPTION', `${what} of at least 0`, String(value), 'choose a number of at least 0');
}

/**
 * Checks that a value is a number from `min` to `max`.
 * @param what description for the error message
 * @returns `value`
 * @throws SrdsError INVALID_OPTION if it is not
 */
export function numberBetween(what: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max) return value;
  throw new SrdsError('INVALID_OPTION', `${what} from ${min} to ${max}`, String(value), 'choose one in that range');
}
