import type { ErrorCode } from '../errors.js';

/** Exit code for each kind of error that a user can cause. */
export const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  INVALID_OPTION: 2,
  MODEL_NOT_FOUND: 3,
  MODEL_INVALID: 4,
  OUTPUT_FAILED: 5,
  ENGINE_FAILED: 6,
  DOWNLOAD_FAILED: 7,
  DEVICE_UNAVAILABLE: 8,
  LISTEN_FAILED: 9,
};

/** Exit code for a defect of this program. */
export const EXIT_INTERNAL = 70;

/** Exit code where the system has no descriptors, memory or processes left: EX_OSERR of sysexits.h. */
export const EXIT_RESOURCES = 71;

/** Exit codes after a signal: 128 plus its number, the convention of shells. */
export const EXIT_SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;
