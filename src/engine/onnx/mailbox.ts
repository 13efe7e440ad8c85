import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Files here are memory, where the system has it. */
const SHARED_MEMORY = '/dev/shm';

/**
 * A file through which two processes hand each other tensors: messages between processes copy them several times over
 * and in small pieces. Who writes says where it is, in a message; what is there is valid until the answer.
 */
export class Mailbox {
  private constructor(
    readonly path: string,
    private readonly fd: number,
  ) {}

  /** A new one. Its folder goes with `remove`, which may come as soon as the other process has opened it. */
  static create(): Mailbox {
    const path = join(mkdtempSync(join(existsSync(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir(), 'srds-')), 'mailbox');
    return new Mailbox(path, openSync(path, 'w+', 0o600));
  }

  /** One that the other process has made. */
  static open(path: string): Mailbox {
    return new Mailbox(path, openSync(path, 'r+'));
  }

  /** @returns the position after it */
  write(data: ArrayBufferView, position: number): number {
    for (let at = 0; at < data.byteLength;) {
      at += writeSync(this.fd, data as NodeJS.ArrayBufferView, at, data.byteLength - at, position + at);
    }
    return position + data.byteLength;
  }

  /** Fills `data`. */
  read(data: ArrayBufferView, position: number): void {
    for (let at = 0; at < data.byteLength;) {
      const count = readSync(this.fd, data as NodeJS.ArrayBufferView, at, data.byteLength - at, position + at);
      if (count === 0) throw new Error('the mailbox is shorter than it was said to be');
      at += count;
    }
  }

  /** Takes the file's name away; those who have it open can go on. */
  remove(): void {
    rmSync(join(this.path, '..'), { recursive: true, force: true });
  }

  close(): void {
    closeSync(this.fd);
  }
}
