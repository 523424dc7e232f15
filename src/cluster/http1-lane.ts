import {
  Agent,
  type AgentOptions,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dialed, Dialer } from './dialer.ts';
import type { Lane, TransportAnswer, TransportFailure, TransportRequest } from './transport.ts';

export interface Http1LaneOptions {
  /** Connections for requests other than watches; more requests wait for a free one. A TLS handshake costs more than most. */
  readonly maxConnections: number;
}

const KEEP_ALIVE: AgentOptions = { keepAlive: true, keepAliveMsecs: 15_000, maxFreeSockets: 8, scheduling: 'lifo' };

/** HTTP/1.1 with kept connections: each watch has one for itself, the other requests share a few. */
export class Http1Lane implements Lane {
  readonly generation: number;
  private readonly dialer: Dialer;
  private readonly watches: DialingAgent;
  private readonly requests: DialingAgent;
  private readonly retiring = new Set<() => void>();
  private spare: Dialed | undefined;

  /** `first` is a connection that stands already. */
  constructor(options: Http1LaneOptions, dialer: Dialer, first: Dialed) {
    this.generation = first.generation;
    this.dialer = dialer;
    this.spare = first;
    first.socket.once('close', () => {
      if (this.spare === first) this.spare = undefined;
    });
    const dial = async (): Promise<Duplex> => {
      const { spare } = this;
      this.spare = undefined;
      return (spare ?? (await this.dialer.dial(['http/1.1']))).socket;
    };
    this.watches = new DialingAgent({ ...KEEP_ALIVE, maxSockets: Number.POSITIVE_INFINITY }, dial);
    this.requests = new DialingAgent({ ...KEEP_ALIVE, maxSockets: options.maxConnections }, dial);
  }

  request(asked: TransportRequest): Promise<TransportAnswer | TransportFailure> {
    const { method, path, body, long, signal, onRetire } = asked;
    const { server } = this.dialer;
    return new Promise((resolve) => {
      // A request that still waits for its connection tells nobody that it was aborted until it has one.
      const onAbort = (): void => resolve({ error: signal.reason, retry: 'never' });
      signal.addEventListener('abort', onAbort, { once: true });
      const headers: OutgoingHttpHeaders = { host: server.host, ...asked.headers };
      const agent = long ? this.watches : this.requests;
      const request: ClientRequest = httpRequest({ agent, host: server.hostname, method, path, headers, signal });
      if (onRetire !== undefined) {
        this.retiring.add(onRetire);
        request.on('close', () => this.retiring.delete(onRetire));
      }
      request.on('close', () => signal.removeEventListener('abort', onAbort));
      request.on('response', (answer: IncomingMessage) => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: answer });
      });
      request.on('error', (error) => resolve({ error, retry: request.reusedSocket ? 'reads' : 'never' }));
      request.end(body);
    });
  }

  retire(): void {
    this.watches.retire();
    this.requests.retire();
    this.spare?.socket.destroy();
    for (const tell of [...this.retiring]) tell();
  }

  close(): void {
    this.spare?.socket.destroy();
    this.watches.destroy();
    this.requests.destroy();
  }
}

/** An agent whose connections the dialer makes. */
class DialingAgent extends Agent {
  private readonly dial: () => Promise<Duplex>;

  constructor(options: AgentOptions, dial: () => Promise<Duplex>) {
    super(options);
    this.dial = dial;
  }

  // @types/node 20 knows neither the return type Duplex nor that the callback may be all there is.
  override createConnection(_: unknown, done: (error: Error | null, socket?: Duplex) => void): undefined {
    this.dial().then(
      (socket) => done(null, socket),
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
    );
    return undefined;
  }

  /** Idle connections end now, the others when they are free. */
  retire(): void {
    this.maxFreeSockets = 0;
    for (const sockets of Object.values(this.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }
}
