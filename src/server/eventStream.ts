/** Something is sent at least so often, so that nobody in between takes the connection for dead. */
const HEARTBEAT_MS = 15_000;
/** A reader that takes nothing for as long is given up. */
const STALL_MS = 60_000;
/** Bytes that are handed over at a time, so that a slow reader is seen to get on. */
const PIECE_BYTES = 16_384;

interface Message {
  readonly text: string;
  readonly replaces: string | undefined;
}

/**
 * Server-sent events to one reader, at the reader's pace: what a slow one has not taken waits here, of messages that replace each
 * other the last only. Source: HTML standard, 9.2.
 */
export class EventStream {
  private readonly messages: Message[] = [];
  private readonly encoder = new TextEncoder();
  private readonly gone = new AbortController();
  private readonly heartbeat: NodeJS.Timeout;
  private stall: NodeJS.Timeout | undefined;
  private wake: () => void = () => undefined;
  private ended = false;

  constructor() {
    this.heartbeat = setInterval(() => {
      if (this.messages.length === 0) this.push({ text: ': still at it\n\n', replaces: undefined });
    }, HEARTBEAT_MS).unref();
  }

  /** Aborted when the reader has gone, or takes nothing any more. */
  get closed(): AbortSignal {
    return this.gone.signal;
  }

  /** @param replaces messages with the same word that were not taken yet make way */
  send(event: string, data: object, replaces?: string): void {
    this.push({ text: `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`, replaces });
  }

  end(): void {
    this.ended = true;
    clearInterval(this.heartbeat);
    this.wake();
  }

  response(): Response {
    let rest = new Uint8Array();
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.closed.addEventListener('abort', () => controller.error(new Error('the reader is gone')), {
            once: true,
          });
        },
        pull: async (controller) => {
          clearTimeout(this.stall);
          while (rest.length === 0 && this.messages.length === 0 && !this.ended) {
            await new Promise<void>((resolve) => (this.wake = resolve));
          }
          if (rest.length === 0) rest = this.encoder.encode(this.messages.shift()?.text ?? '');
          if (this.closed.aborted) return;
          if (rest.length === 0) return controller.close();
          controller.enqueue(rest.subarray(0, PIECE_BYTES));
          rest = rest.subarray(PIECE_BYTES);
          this.stall = setTimeout(() => this.giveUp(), STALL_MS).unref();
        },
        cancel: () => this.giveUp(),
      },
      { highWaterMark: 1 },
    );
    return new Response(body, {
      headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
    });
  }

  private push(message: Message): void {
    if (this.ended) return;
    const { replaces } = message;
    const at = replaces === undefined ? -1 : this.messages.findIndex((old) => old.replaces === replaces);
    if (at >= 0) this.messages.splice(at, 1);
    this.messages.push(message);
    this.wake();
  }

  private giveUp(): void {
    clearTimeout(this.stall);
    this.messages.length = 0;
    this.gone.abort();
    this.end();
  }
}
