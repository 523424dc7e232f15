import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { isLoopback, parseIp } from '../model/cidr.ts';
import { listen } from './listen.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface PlainRequest {
  readonly query: URLSearchParams;
  /** It comes from this machine. */
  readonly isLocal: boolean;
}

/** undefined: there is nothing at that path. */
export type Answers = (path: string, request: PlainRequest) => Answer | undefined | Promise<Answer | undefined>;

export interface PlainServerOptions {
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  readonly what: string;
  readonly otherwise: string;
}

/** What a request may take, what it may be long, and how many there may be: nobody can hold the server by being slow. */
const LIMITS = { requestTimeout: 5000, headersTimeout: 5000, keepAliveTimeout: 5000, maxHeaderSize: 8192 };
const MOST_CONNECTIONS = 64;

/** A few read-only paths over plain HTTP, for everybody who gets through to it. */
export class PlainServer {
  private readonly options: PlainServerOptions;
  private readonly log: Logger;
  private readonly server: Server;

  constructor(options: PlainServerOptions, deps: { readonly answers: Answers; readonly log: Logger }) {
    this.options = options;
    this.log = deps.log;
    this.server = createServer({ ...LIMITS, connectionsCheckingInterval: 1000 }, (request, response) => {
      // A body is nothing that is wanted here.
      request.resume();
      const isRead = request.method === 'GET' || request.method === 'HEAD';
      const [path = '/', query = ''] = (request.url ?? '/').split('?');
      const asked = { query: new URLSearchParams(query), isLocal: isLoopbackText(request.socket.remoteAddress ?? '') };
      const send = ({ status, type, body, headers }: Answer): void => {
        response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff', ...headers });
        response.end(request.method === 'HEAD' ? undefined : body);
      };
      const text = (status: number, body: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body });
      Promise.resolve(isRead ? deps.answers(path, asked) : text(405, 'Method Not Allowed\n')).then(
        (answer) => send(answer ?? text(404, '404 page not found\n')),
        (error: unknown) => {
          this.log.warn({ path, error: messageOf(error) }, `the server of ${this.options.what} could not answer`);
          send(text(500, 'Internal Server Error\n'));
        },
      );
    });
    this.server.maxConnections = MOST_CONNECTIONS;
  }

  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? this.options.port;
  }

  /** Throws Unavailable when the address cannot be had. */
  async start(): Promise<void> {
    const { what, otherwise } = this.options;
    await listen(this.server, this.options, { what, otherwise }, this.log);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

function isLoopbackText(address: string): boolean {
  const ip = parseIp(address.replace(/^::ffff:/, ''));
  return ip !== undefined && isLoopback(ip);
}
