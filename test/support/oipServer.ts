import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A tensor of a request or of an answer. */
export interface OipTensor {
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A request that the server received. */
export interface ReceivedRequest {
  readonly inputs: ReadonlyMap<string, OipTensor>;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly headers: IncomingMessage['headers'];
}

interface TensorDescription {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

/** A model of the server. */
export interface OipModel {
  readonly name: string;
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
  /** What Triton returns as the configuration; without it the server has no such route, like KServe's. */
  readonly config?: object;
  /** Computes the first output. */
  readonly compute: (request: ReceivedRequest) => OipTensor | Promise<OipTensor>;
}

/** What the server does in place of answering a request for inference as it should. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: number; readonly text?: string }
  | { readonly kind: 'endless'; readonly status?: number }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'change'; readonly change: (output: OipTensor) => OipTensor }
  /** `truncate`: fewer bytes than announced. `cut`: a chunked answer that ends early. `reset`: the connection is reset without an answer. */
  | { readonly kind: 'hang' | 'truncate' | 'cut' | 'reset' | 'chunk' | 'json' };

export interface OipServerOptions {
  readonly port?: number;
  readonly tls?: { readonly key: string; readonly cert: string };
}

/** A server of the Open Inference Protocol v2 with one model, which can be made to misbehave. */
export class OipServer {
  readonly received: ReceivedRequest[] = [];
  /** Requests under way, and the most that were under way at once. */
  running = 0;
  mostRunning = 0;
  isReady = true;
  /** What requests must have as their token. */
  token: string | undefined;
  /** Whether answers about the server and the model have no end. */
  isEndless = false;
  /** Status and error of an answer to a request to load the model; undefined: the server has no such route. */
  loading: readonly [status: number, error?: string] | undefined;
  /** Bytes of answers without end that were sent, or wait to be. */
  endlessBytes = 0;
  connections = 0;
  /** Decides about each request for inference, counted from 0. */
  faultOf: (request: number) => Fault | undefined = () => undefined;
  private readonly sockets = new Set<Socket>();
  port = 0;

  private constructor(
    private readonly server: http.Server | https.Server,
    readonly model: OipModel,
    private readonly protocol: string,
  ) {}

  static async start(model: OipModel, { port = 0, tls }: OipServerOptions = {}): Promise<OipServer> {
    const server = tls ? https.createServer(tls) : http.createServer();
    const started = new OipServer(server, model, tls ? 'https' : 'http');
    server.on('request', (request, response) => {
      started.answer(request, response).catch(() => response.destroy());
    });
    server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      started.connections++;
      started.sockets.add(socket);
      socket.once('close', () => started.sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    started.port = (server.address() as AddressInfo).port;
    return started;
  }

  /** Name of the device. */
  get device(): string {
    return `oip+${this.protocol}://127.0.0.1:${this.port}/${this.model.name}`;
  }

  /** Connections that are open. */
  get open(): number {
    return this.sockets.size;
  }

  /** Resets the connections that are open, as a server does that forgets those without traffic. */
  resetConnections(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  /** Ends as a killed process does. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.resetConnections();
    await closed;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const base = `/v2/models/${this.model.name}`;
    const { name, inputs, outputs, config } = this.model;
    const json = (content: object, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
    };
    const isDenied = this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`;
    if (isDenied) return void response.writeHead(401).end('<h1>401 Authorization Required</h1>');
    if (this.isEndless && request.url !== `${base}/infer`) return this.sendEndlessly(response.writeHead(200));
    switch (request.url) {
      case '/v2':
        return json({ name: 'fake', version: '1.0', extensions: [] });
      case base:
        return json({ name, versions: ['1'], platform: 'fake', inputs, outputs });
      case `${base}/ready`:
        return void response.writeHead(this.isReady ? 200 : 400).end();
      case `${base}/config`:
        return config ? json(config) : json({ error: 'not found' }, 404);
      case `${base}/infer`:
        this.running++;
        this.mostRunning = Math.max(this.mostRunning, this.running);
        await this.infer(request, response, Buffer.concat(chunks)).finally(() => this.running--);
        return;
      case `/v2/repository/models/${name}/load`:
        if (this.loading) return json({ error: this.loading[1] ?? '' }, this.loading[0]);
        return json({ error: 'not found' }, 404);
      default:
        return json({ error: `Request for unknown model: '${request.url}' is not found` }, 404);
    }
  }

  /** Sends until the client closes the connection. */
  private async sendEndlessly(response: ServerResponse): Promise<void> {
    const closed = once(response, 'close');
    const block = Buffer.alloc(2 ** 16, 'endless ');
    while (!response.destroyed) {
      this.endlessBytes += block.length;
      if (!response.write(block)) await Promise.race([once(response, 'drain'), closed]);
    }
  }

  private async infer({ headers }: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
    const received = parseRequest(headers, body);
    const fault = this.faultOf(this.received.push(received) - 1);
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'endless') {
      response.writeHead(fault.status ?? 200, { 'inference-header-content-length': 100 });
      return this.sendEndlessly(response);
    }
    if (fault?.kind === 'reset') return void (response.socket as Socket).resetAndDestroy();
    if (fault?.kind === 'delay') await delay(fault.ms);
    if (fault?.kind === 'status') {
      const { status, retryAfter, text = 'a fault' } = fault;
      if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
      return void response.writeHead(status).end(JSON.stringify({ error: text }));
    }
    const computed = await this.model.compute(received);
    const output = fault?.kind === 'change' ? fault.change(computed) : computed;
    const { datatype, shape, bytes } = output;
    const [{ name }] = this.model.outputs;
    const parameters = { binary_data_size: bytes.length };
    const header = { model_name: this.model.name, outputs: [{ name, datatype, shape, parameters }] };
    if (fault?.kind === 'json') {
      const data = [...new Float32Array(Uint8Array.from(bytes).buffer)];
      const outputs = [{ name, datatype, shape, data }];
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ outputs }));
    }
    const text = Buffer.from(JSON.stringify(header));
    response.setHeader('inference-header-content-length', text.length);
    const whole = Buffer.concat([text, bytes]);
    switch (fault?.kind) {
      case 'chunk':
      case 'cut':
        // Without a length, Node sends chunks.
        for (const part of [0, 1, 2, 3]) {
          response.write(whole.subarray((part * whole.length) >> 2, ((part + 1) * whole.length) >> 2));
          if (fault.kind === 'cut' && part === 2) return void setImmediate(() => response.destroy());
        }
        return void response.end();
      case 'truncate':
        return void response.end(whole.subarray(0, whole.length - 8));
      default:
        return void response.setHeader('content-length', whole.length).end(whole);
    }
  }
}

interface RequestHeader {
  readonly parameters?: Record<string, unknown>;
  readonly inputs: readonly (TensorDescription & { readonly parameters: { readonly binary_data_size: number } })[];
}

function parseRequest(headers: IncomingMessage['headers'], body: Buffer): ReceivedRequest {
  const end = Number(headers['inference-header-content-length']);
  const { inputs, parameters = {} } = JSON.parse(body.subarray(0, end).toString('utf8')) as RequestHeader;
  let at = end;
  const tensors = inputs.map(({ name, datatype, shape, parameters: { binary_data_size: size } }) => {
    const bytes = Uint8Array.from(body.subarray(at, (at += size)));
    return [name, { datatype, shape, bytes }] as const;
  });
  return { inputs: new Map(tensors), parameters, headers };
}
