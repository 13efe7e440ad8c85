import { clientGone, toApiError } from './apiError.js';

/** The longest silence. Proxies close connections that stay silent. */
const HEARTBEAT_MS = 15_000;
/** Bytes handed over at a time; small enough to notice that a slow reader makes progress. */
const PIECE_BYTES = 16_384;

interface Message {
  readonly text: string;
  readonly replaces: string | undefined;
}

/**
 * Server-sent events to one reader, at the reader's pace. Messages that a slow reader has not taken stay in memory; of messages that
 * replace each other, only the last stays. Source: HTML standard, 9.2.
 * @typeParam Events the payload of each event by its name; every stream may also end with an `error` event
 */
export class EventStream<Events extends object> {
  private readonly messages: Message[] = [];
  private readonly encoder = new TextEncoder();
  private readonly gone = new AbortController();
  private readonly heartbeat: NodeJS.Timeout;
  private wake: () => void = () => undefined;
  private ended = false;
  private status = 200;
  private settle: (status: number) => void = () => undefined;

  /** The status that the answer would have had if it had not been a stream; known at its end. */
  readonly outcome = new Promise<number>((resolve) => (this.settle = resolve));

  constructor() {
    this.heartbeat = setInterval(() => {
      if (this.messages.length === 0) this.push({ text: ': heartbeat\n\n', replaces: undefined });
    }, HEARTBEAT_MS).unref();
  }

  /** Aborted when the reader has left. */
  get closed(): AbortSignal {
    return this.gone.signal;
  }

  /** @param replaces a label; the message replaces an earlier one of the same label that the reader has not taken yet */
  send<Name extends keyof Events & string>(event: Name, data: Events[Name], replaces?: string): void {
    this.push({ text: messageText(event, data), replaces });
  }

  /** Sends an `error` event. @param thrown the error */
  fail(thrown: unknown): void {
    const error = toApiError(thrown);
    this.status = error.status;
    this.push({ text: messageText('error', error.body), replaces: undefined });
  }

  /** Ends the stream after the messages that are still in memory. */
  end(): void {
    this.ended = true;
    clearInterval(this.heartbeat);
    this.settle(this.status);
    this.wake();
  }

  response(): Response {
    let rest = new Uint8Array();
    const body = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          while (rest.length === 0 && this.messages.length === 0 && !this.ended) {
            await new Promise<void>((resolve) => (this.wake = resolve));
          }
          if (rest.length === 0) rest = this.encoder.encode(this.messages.shift()?.text ?? '');
          if (this.closed.aborted) return;
          if (rest.length === 0) return controller.close();
          controller.enqueue(rest.subarray(0, PIECE_BYTES));
          rest = rest.subarray(PIECE_BYTES);
        },
        cancel: () => this.abandon(),
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

  private abandon(): void {
    this.messages.length = 0;
    this.gone.abort();
    this.status = clientGone().status;
    this.end();
  }
}

function messageText(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
