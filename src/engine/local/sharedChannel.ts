import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  readvSync,
  rmSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Files here are memory, where the system has it. */
const SHARED_MEMORY = '/dev/shm';

/** What each side keeps at the start of the file: the number of its last letter, where that is, and whether it sleeps. */
const LINE = { number: 0, place: 8, asleep: 24, bytes: 64 };
/** Where tensors begin. */
export const CONTENTS = 2 * LINE.bytes;

/** A system call takes no more at a time. */
const MOST_PIECES = 1024;

/**
 * A file through which two processes hand each other tensors and letters about them: messages between processes copy them
 * several times over, in small pieces, and make garbage. One letter each way is under way at a time; what it is about is valid
 * until the answer. Who sleeps has to be woken otherwise.
 */
export class SharedChannel {
  private sent = 0;
  private readonly word = new Float64Array(1);
  private readonly place = new Float64Array(2);
  private taken = 0;

  private constructor(
    readonly path: string,
    private readonly fd: number,
    private readonly own: number,
    private readonly other: number,
  ) {}

  /** A new one, both sides asleep. Its folder goes with `remove`, which may come as soon as the other process has opened it. */
  static create(): SharedChannel {
    const path = join(mkdtempSync(join(existsSync(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir(), 'srds-')), 'channel');
    const channel = new SharedChannel(path, openSync(path, 'w+', 0o600), 0, LINE.bytes);
    channel.write([new Uint8Array(CONTENTS)], 0);
    for (const side of [0, LINE.bytes]) channel.put(1, side + LINE.asleep);
    return channel;
  }

  /** One that the other process has made. */
  static open(path: string): SharedChannel {
    return new SharedChannel(path, openSync(path, 'r+'), LINE.bytes, 0);
  }

  /** Puts pieces one after the other. @returns the position after them */
  write(pieces: readonly ArrayBufferView[], position: number): number {
    return this.transfer(writevSync, writeSync, pieces, position);
  }

  /** Fills pieces with what is there, one after the other. */
  read(pieces: readonly ArrayBufferView[], position: number): void {
    this.transfer(readvSync, readSync, pieces, position);
  }

  /**
   * Sends a letter.
   * @param letter of what JSON can say, which takes half as long as V8's own way
   * @param position where it may lie: behind the tensors
   * @returns whether the other side sleeps, and has to be woken to find it
   */
  send(letter: unknown, position: number): boolean {
    const content = Buffer.from(JSON.stringify(letter));
    this.write([content], position);
    this.place.set([position, content.byteLength]);
    this.write([this.place], this.own + LINE.place);
    // The number last: what it announces is there.
    this.put(++this.sent, this.own + LINE.number);
    return this.get(this.other + LINE.asleep) === 1;
  }

  /** The letter that has come since the last one was taken. */
  take(): unknown {
    const number = this.get(this.other + LINE.number);
    if (number !== this.taken + 1) return undefined;
    this.taken = number;
    this.read([this.place], this.other + LINE.place);
    const content = Buffer.allocUnsafe(this.place[1]);
    this.read([content], this.place[0]);
    return JSON.parse(content.toString());
  }

  /** Tells the other side whether it has to wake this one; a letter may have come just before. */
  sleeps(asleep: boolean): void {
    this.put(asleep ? 1 : 0, this.own + LINE.asleep);
  }

  /** Takes the file's name away; those who have it open can go on. */
  remove(): void {
    rmSync(join(this.path, '..'), { recursive: true, force: true });
  }

  close(): void {
    closeSync(this.fd);
  }

  private put(value: number, position: number): void {
    this.word[0] = value;
    writeSync(this.fd, this.word, 0, 8, position);
  }

  private get(position: number): number {
    readSync(this.fd, this.word, 0, 8, position);
    return this.word[0];
  }

  /** @returns the position after what was transferred */
  private transfer(
    many: typeof writevSync,
    one: (fd: number, piece: NodeJS.ArrayBufferView, offset: number, length: number, position: number) => number,
    pieces: readonly ArrayBufferView[],
    position: number,
  ): number {
    for (let first = 0; first < pieces.length; first += MOST_PIECES) {
      const part = pieces.slice(first, first + MOST_PIECES) as NodeJS.ArrayBufferView[];
      let done = many(this.fd, part, position);
      // A call may stop early; what is left goes piece by piece.
      for (const piece of part) {
        for (let at = Math.min(done, piece.byteLength); at < piece.byteLength;) {
          const count = one(this.fd, piece, at, piece.byteLength - at, position + at);
          if (count === 0) throw new Error('the channel is shorter than it was said to be');
          at += count;
        }
        done = Math.max(0, done - piece.byteLength);
        position += piece.byteLength;
      }
    }
    return position;
  }
}
