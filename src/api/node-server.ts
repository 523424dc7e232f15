import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { Clock } from '../kit/clock.ts';
import type { Unsubscribe } from '../kit/emitter.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { ClientCertificates } from './client-certificates.ts';
import { listen } from './listen.ts';
import type { ClientAuthorities, ServingCertificate } from './port.ts';
import { type Router, sendText } from './router.ts';

export interface NodeServerOptions {
  readonly address: string;
  /** 0: any free one; see `port`. */
  readonly port: number;
  /** Default TLSv1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** OpenSSL's list of cipher suites for TLS 1.2; default: Node's. */
  readonly ciphers?: string | undefined;
}

export interface NodeServerDeps {
  readonly serving: ServingCertificate;
  /** undefined: nobody is known by certificate. */
  readonly clientAuthorities?: ClientAuthorities | undefined;
  readonly router: Router;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The head of a request must come within this time: nobody holds the server by being slow. */
const HEADERS_MS = 10_000;
const HEADER_BYTES = 65_536;

/**
 * The node's HTTPS API (kubelet's port 10250): says who calls, then hands the request to its router. New certificates
 * and authorities are taken up by new connections; those that are open go on.
 */
export class NodeServer {
  private readonly options: NodeServerOptions;
  private readonly deps: NodeServerDeps;
  private readonly server: Server;
  private readonly callers: ClientCertificates | undefined;
  private readonly subscriptions: Unsubscribe[] = [];

  constructor(options: NodeServerOptions, deps: NodeServerDeps) {
    this.options = options;
    this.deps = deps;
    const { clientAuthorities, clock, serving } = deps;
    this.callers = clientAuthorities === undefined ? undefined : new ClientCertificates(clientAuthorities, { clock });
    this.server = createServer(
      {
        ...this.context(),
        // Without authorities of our own OpenSSL would believe those of the machine.
        requestCert: clientAuthorities !== undefined,
        // Who shows nothing, or nothing good, is told so in HTTP.
        rejectUnauthorized: false,
        ALPNProtocols: ['http/1.1'],
        headersTimeout: HEADERS_MS,
        maxHeaderSize: HEADER_BYTES,
        noDelay: true,
      },
      (request, response) => void this.answer(request, response),
    );
    this.server.on('secureConnection', (socket) => this.callers?.accept(socket));
    this.server.on('tlsClientError', (error) => {
      const why = serving.current() === undefined ? 'no serving certificate available for the node' : messageOf(error);
      deps.log.debug({ error: why }, 'a TLS handshake failed');
    });
  }

  /** The port it listens on, once started. */
  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? this.options.port;
  }

  /** Throws Unavailable when the address cannot be had, and says which. */
  async start(): Promise<void> {
    const { address } = this.options;
    const words = { what: "the node's API", otherwise: 'address and port' };
    await listen(this.server, this.options, words, this.deps.log);
    const { serving, clientAuthorities } = this.deps;
    this.subscriptions.push(serving.subscribe(() => this.reload('certificate')));
    const followed = clientAuthorities?.subscribe(() => this.reload('client authorities'));
    if (followed !== undefined) this.subscriptions.push(followed);
    // Between the constructor and here something may have come.
    this.reload(undefined);
    this.deps.log.info({ address, port: this.port }, 'the node API serves');
  }

  async close(): Promise<void> {
    for (const unsubscribe of this.subscriptions.splice(0)) unsubscribe();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }

  private reload(what: string | undefined): void {
    try {
      this.callers?.reload();
      this.server.setSecureContext(this.context());
      if (what !== undefined) this.deps.log.info({ what }, 'new connections to the node API use what was replaced');
    } catch (error) {
      this.deps.log.error({ what, error: messageOf(error) }, 'the node API cannot use what was replaced; going on');
    }
  }

  private context(): SecureContextOptions {
    const { minVersion = 'TLSv1.2', ciphers } = this.options;
    const serving = this.deps.serving.current();
    const ca = this.deps.clientAuthorities?.current();
    return {
      minVersion,
      ...(ciphers === undefined ? {} : { ciphers }),
      ...(serving === undefined ? {} : { cert: serving.cert, key: serving.key }),
      ...(ca === undefined ? {} : { ca }),
    };
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const caller = this.callers?.callerOf(request.socket as TLSSocket);
      if (caller === undefined) {
        // What is left of a body that nobody reads ends with the connection.
        if (!request.complete) response.setHeader('connection', 'close');
        sendText(response, 401, 'Unauthorized');
        return;
      }
      const url = URL.canParse(request.url ?? '', 'https://node')
        ? new URL(request.url ?? '', 'https://node')
        : undefined;
      if (url === undefined) sendText(response, 400, '400: Bad Request\n');
      else {
        const { pathname: path, searchParams: query } = url;
        await this.deps.router.handle({ request, response, caller, path, query });
      }
    } catch (error) {
      this.deps.log.error({ path: request.url, error: messageOf(error) }, 'a request to the node API failed');
      if (response.headersSent) response.destroy();
      else sendText(response, 500, '500: Internal Server Error\n');
    } finally {
      if (!request.complete) request.resume();
    }
  }
}
