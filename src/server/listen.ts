import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { messageOf, SrdsError, systemCode } from '../errors.js';
import { ApiError } from './apiError.js';
import { ConnectionTurns } from './connectionTurns.js';

/** Time limits for receiving the headers and the whole request. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 60_000;
const KEEP_ALIVE_MS = 5_000;
/** The time after which a reader that takes nothing of an answer counts as gone. */
const STALL_MS = 30_000;
/** How long the rest of a refused request is read and dropped. Closing at once would lose the answer on its way. */
const LINGER_MS = 1_000;
const MAX_HEADER_BYTES = 16_384;

/** What answers requests. */
interface Routes {
  readonly fetch: (request: Request) => Response | Promise<Response>;
}

const OWN_HOST = 'give --host an address of this machine, such as 127.0.0.1';
/** What to do where the system refuses an address, by its error code. */
const LISTEN_REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'choose another --port or --host, or stop the process that listens there',
  EADDRNOTAVAIL: OWN_HOST,
  ENOTFOUND: OWN_HOST,
  EACCES: 'choose a --port above 1023, or run as a user who may listen there',
};

/** A listening server. */
export interface Listening {
  readonly server: Server;
  readonly url: string;
  /** The number of requests whose answer has not been sent completely. */
  readonly openRequests: () => number;
}

/**
 * Serves routes over HTTP. Errors of Node's parser are answered in the API's form too.
 * @throws SrdsError LISTEN_FAILED
 */
export async function listen(app: Routes, host: string, port: number): Promise<Listening> {
  const handle = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    errorHandler: () =>
      Response.json(new ApiError(400, 'bad_request', 'expected a valid HTTP request').body, { status: 400 }),
  });
  const turns = new ConnectionTurns((request, response) => void handle(request, response));
  const server = createServer(
    {
      // The routes' own answer to a request without Host is in the API's form.
      requireHostHeader: false,
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      connectionsCheckingInterval: 1000,
    },
    turns.enter,
  );
  // Node notices here whether a reader has taken anything; it says nothing of an answer that is still being made.
  server.setTimeout(STALL_MS, (socket) => {
    if (socket.writableLength > 0 || !turns.running(socket)) socket.destroy();
    else socket.setTimeout(STALL_MS);
  });
  server.on('checkExpectation', (_: IncomingMessage, response: ServerResponse) => {
    const { body } = new ApiError(
      417,
      'expectation_failed',
      'expected no Expect header or 100-continue, found another; omit it',
    );
    response.writeHead(417, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.on('connect', (_, socket) => {
    const message = 'expected a request to this server, found CONNECT; it is not a proxy';
    // Node no longer listens to this socket, nor closes it.
    socket.on('error', () => undefined);
    socket.end(rawAnswer(new ApiError(405, 'method_not_allowed', message)), () => socket.destroy());
  });
  const refused = new WeakSet<Duplex>();
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (refused.has(socket)) return;
    refused.add(socket);
    // An answer that has begun cannot be replaced by an error.
    if (!socket.writable || error.code === 'ECONNRESET' || turns.running(socket)?.headersSent === true)
      return void socket.destroy();
    socket.end(rawAnswer(refusalOf(error)));
    socket.resume();
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new SrdsError(
          'LISTEN_FAILED',
          `to listen on ${host}, port ${port}`,
          messageOf(error),
          LISTEN_REMEDIES[systemCode(error) ?? ''] ?? 'choose another --port or --host',
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const bound = address !== null && typeof address === 'object' ? address.port : port;
  return {
    server,
    openRequests: () => turns.open,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
  };
}

function refusalOf({ code }: NodeJS.ErrnoException): ApiError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError(
        408,
        'request_timeout',
        `expected a complete request within ${REQUEST_MS / 1000} s, found a part; send it faster`,
      );
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError(
        431,
        'headers_too_large',
        `expected at most ${MAX_HEADER_BYTES} bytes of headers, found more; send fewer`,
      );
    default:
      return new ApiError(400, 'bad_request', 'expected a valid HTTP request, found something else');
  }
}

function rawAnswer({ status, body }: ApiError): string {
  const content = JSON.stringify(body);
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(content)}`,
    'Connection: close',
    '',
    content,
  ].join('\r\n');
}
