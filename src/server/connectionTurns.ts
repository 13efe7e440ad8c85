import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Requests of a connection that may wait for the answers before them. Clients that pipeline at all send a few. */
const MAX_WAITING = 16;

interface Connection {
  /** The answer that is being made or sent. */
  running: ServerResponse | undefined;
  readonly waiting: (() => void)[];
}

/**
 * Handles the requests of each connection one after the other. Node hands over all requests that a client has pipelined at once, so a
 * client that reads no answers would have thousands of them made and kept. A client that pipelines too many loses its connection.
 */
export class ConnectionTurns {
  private readonly connections = new WeakMap<Duplex, Connection>();
  private openCount = 0;

  constructor(private readonly handle: RequestListener) {}

  /** The number of requests whose answer has not been sent completely. */
  get open(): number {
    return this.openCount;
  }

  /** The answer that a connection is waiting for or receiving. */
  running(socket: Duplex): ServerResponse | undefined {
    return this.connections.get(socket)?.running;
  }

  /** Handles a request when the answers before it have been sent. */
  readonly enter = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    if (socket.destroyed) return;
    const connection = this.connections.get(socket) ?? { running: undefined, waiting: [] };
    this.connections.set(socket, connection);
    const start = () => this.start(connection, request, response);
    if (!connection.running) start();
    else if (connection.waiting.length < MAX_WAITING) connection.waiting.push(start);
    else socket.destroy();
  };

  private start(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    connection.running = response;
    this.openCount++;
    response.once('close', () => {
      connection.running = undefined;
      if (request.socket.destroyed) connection.waiting.length = 0;
      connection.waiting.shift()?.();
      this.openCount--;
    });
    this.handle(request, response);
  }
}
