import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readSync,
  readvSync,
  rmSync,
  statfsSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Mapping, MemoryMap } from './memoryMap.js';

/** A folder whose files are in memory, where the system has one, and what must be free there: containers often have little. */
const SHARED_MEMORY = '/dev/shm';
const LEAST_FREE = 32 * 2 ** 20;

/**
 * Each side has a header at the start of the file, with these fields at these offsets, in bytes: the number of its last
 * message, int32; the position and length of that message, float64; whether the side sleeps, int32; and the number of its
 * heartbeats, int32.
 */
const HEADER = { number: 0, location: 8, asleep: 24, heartbeats: 28, bytes: 64 };
/** Where the content begins, in bytes. */
export const CONTENT_START = 2 * HEADER.bytes;

/** Bytes that are mapped at first. */
const LEAST_MAPPED = 1 << 20;

/** The maximum number of buffers in one system call. */
const MAX_BUFFERS = 1024;

/**
 * A file that two processes exchange tensors and messages through. Node's messages between processes copy tensors several
 * times, in small pieces, and create garbage. Each side has at most one unread message. Tensors that a message refers to stay valid
 * until the reply. A side that sleeps must be woken by other means.
 *
 * Where the file is mapped into memory, a transfer is a copy; otherwise it is a system call.
 */
export class SharedChannel {
  private sent = 0;
  private received = 0;
  private readonly word = new Int32Array(1);
  private readonly location = new Float64Array(2);

  private map: MemoryMap | undefined;
  private mapping: Mapping | undefined;
  /** The file as far as it is mapped. */
  private mapped = new Uint8Array(0);
  private headers = new Int32Array(0);

  private constructor(
    readonly path: string,
    /** The open file. */
    readonly fd: number,
    private readonly ownHeader: number,
    private readonly otherHeader: number,
  ) {}

  /**
   * Creates a channel; both sides start asleep. `remove` deletes its folder, as soon as the other process has opened it.
   * @param folders where to create it, in order of preference
   */
  static create([first, ...others]: readonly string[] = sharedFolders()): SharedChannel {
    try {
      return SharedChannel.createIn(first);
    } catch (error) {
      if (others.length > 0) return SharedChannel.create(others);
      throw error;
    }
  }

  private static createIn(parent: string): SharedChannel {
    const folder = mkdtempSync(join(parent, 'srds-'));
    try {
      const path = join(folder, 'channel');
      const channel = new SharedChannel(path, openSync(path, 'w+', 0o600), 0, HEADER.bytes);
      channel.write([new Uint8Array(CONTENT_START)], 0);
      for (const header of [0, HEADER.bytes]) channel.putNumber(1, header + HEADER.asleep);
      return channel;
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Opens a channel that the other process has created. */
  static open(path: string): SharedChannel {
    return new SharedChannel(path, openSync(path, 'r+'), HEADER.bytes, 0);
  }

  /** Sets the number of heartbeats of the side that opened a channel. A thread without the channel calls it. */
  static putHeartbeat(fd: number, beats: number): void {
    writeSync(fd, Int32Array.of(beats), 0, Int32Array.BYTES_PER_ELEMENT, HEADER.bytes + HEADER.heartbeats);
  }

  /** The number of heartbeats of the other side. */
  get heartbeats(): number {
    return this.getNumber(this.otherHeader + HEADER.heartbeats);
  }

  /** Maps the file into memory from the next transfer on: before it, the other side may be writing what the mapping would clear. */
  mapWith(map: MemoryMap): void {
    this.map = map;
  }

  /** Writes buffers one after the other. @returns the position after them, in bytes */
  write(buffers: readonly ArrayBufferView[], position: number): number {
    const end = position + totalBytes(buffers);
    if (end <= this.mapped.byteLength) {
      for (const buffer of buffers) {
        this.mapped.set(bytesOf(buffer), position);
        position += buffer.byteLength;
      }
      return end;
    }
    // Extends the file, with an error where memory is exhausted: writing beyond it in memory would end the process.
    this.transfer(writevSync, writeSync, buffers, position);
    this.extendMapping();
    return end;
  }

  /** Fills buffers one after the other. @throws Error if the file ends before */
  read(buffers: readonly ArrayBufferView[], position: number): void {
    const end = position + totalBytes(buffers);
    if (end > this.mapped.byteLength) {
      this.transfer(readvSync, readSync, buffers, position);
      return this.extendMapping();
    }
    for (const buffer of buffers) {
      bytesOf(buffer).set(this.mapped.subarray(position, position + buffer.byteLength));
      position += buffer.byteLength;
    }
  }

  /**
   * Sends a message.
   * @param message a JSON value: JSON takes half as long as V8's serialization
   * @param position where to write it: after the tensors, in bytes
   * @returns whether the other side sleeps and must be woken
   */
  send(message: unknown, position: number): boolean {
    const content = Buffer.from(JSON.stringify(message));
    this.write([content], position);
    this.location.set([position, content.byteLength]);
    this.write([this.location], this.ownHeader + HEADER.location);
    // The number is written last: it publishes the message.
    this.putNumber(++this.sent, this.ownHeader + HEADER.number);
    return this.getNumber(this.otherHeader + HEADER.asleep) === 1;
  }

  /** @returns the next message of the other side; undefined if there is none */
  receive(): unknown {
    const number = this.getNumber(this.otherHeader + HEADER.number);
    if (number !== this.received + 1) return undefined;
    this.received = number;
    this.read([this.location], this.otherHeader + HEADER.location);
    const content = Buffer.allocUnsafe(this.location[1]);
    this.read([content], this.location[0]);
    return JSON.parse(content.toString());
  }

  /** Sets whether the other side must wake this one. A message may have arrived just before. */
  setAsleep(asleep: boolean): void {
    this.putNumber(asleep ? 1 : 0, this.ownHeader + HEADER.asleep);
  }

  /** Deletes the file's name and folder; processes that have the file open can still use it. */
  remove(): void {
    rmSync(join(this.path, '..'), { recursive: true, force: true });
  }

  close(): void {
    this.map = undefined;
    this.replaceMapping(undefined);
    closeSync(this.fd);
  }

  /** Maps the file as far as it reaches now, and from then on in larger steps. Where that fails, system calls serve. */
  private extendMapping(): void {
    if (!this.map) return;
    try {
      const { size } = fstatSync(this.fd);
      if (size <= this.mapped.byteLength) return;
      const whole = Math.max(LEAST_MAPPED, 2 ** Math.ceil(Math.log2(size)));
      // Written, not only reserved: to touch memory that the system cannot provide would end the process.
      this.transfer(writevSync, writeSync, [new Uint8Array(whole - size)], size);
      this.replaceMapping(this.map(this.fd, whole));
    } catch {
      this.map = undefined;
    }
  }

  private replaceMapping(mapping: Mapping | undefined): void {
    const before = this.mapping;
    const content = mapping?.data ?? new ArrayBuffer(0);
    this.mapping = mapping;
    this.mapped = new Uint8Array(content);
    this.headers = new Int32Array(content, 0, mapping ? CONTENT_START / Int32Array.BYTES_PER_ELEMENT : 0);
    before?.unmap();
  }

  private putNumber(value: number, position: number): void {
    const at = position / Int32Array.BYTES_PER_ELEMENT;
    if (at < this.headers.length) return void Atomics.store(this.headers, at, value);
    this.word[0] = value;
    writeSync(this.fd, this.word, 0, this.word.byteLength, position);
  }

  private getNumber(position: number): number {
    const at = position / Int32Array.BYTES_PER_ELEMENT;
    if (at < this.headers.length) return Atomics.load(this.headers, at);
    readSync(this.fd, this.word, 0, this.word.byteLength, position);
    return this.word[0];
  }

  private transfer(
    many: typeof writevSync,
    one: (fd: number, buffer: NodeJS.ArrayBufferView, offset: number, length: number, position: number) => number,
    buffers: readonly ArrayBufferView[],
    position: number,
  ): void {
    for (let first = 0; first < buffers.length; first += MAX_BUFFERS) {
      const part = buffers.slice(first, first + MAX_BUFFERS) as NodeJS.ArrayBufferView[];
      let done = many(this.fd, part, position);
      // The call may transfer less than requested; the rest follows buffer by buffer.
      for (const buffer of part) {
        for (let at = Math.min(done, buffer.byteLength); at < buffer.byteLength;) {
          const count = one(this.fd, buffer, at, buffer.byteLength - at, position + at);
          if (count === 0) throw new Error('the shared channel ended before its content did');
          at += count;
        }
        done = Math.max(0, done - buffer.byteLength);
        position += buffer.byteLength;
      }
    }
  }
}

/** Folders for channels: one in memory if there is enough space, and that of temporary files. */
function sharedFolders(): string[] {
  try {
    const { bavail, bsize } = statfsSync(SHARED_MEMORY);
    if (bavail * bsize >= LEAST_FREE) return [SHARED_MEMORY, tmpdir()];
  } catch {
    // There is none.
  }
  return [tmpdir()];
}

function totalBytes(buffers: readonly ArrayBufferView[]): number {
  return buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
