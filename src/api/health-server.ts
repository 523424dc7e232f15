import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import { checksText, type HealthCheck, runChecks } from './health-checks.ts';
import { listen } from './listen.ts';

export interface HealthServerOptions {
  readonly address: string;
  /** 0: any free one; see `port`. */
  readonly port: number;
  /** Default 2 s. */
  readonly checkTimeoutMs?: number;
}

export interface HealthServerDeps {
  readonly checks: readonly HealthCheck[];
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const ENDPOINTS: Readonly<Record<string, readonly HealthCheck['kind'][]>> = {
  healthz: ['live'],
  livez: ['live'],
  readyz: ['live', 'ready'],
};
/** What a request may take in all, what it may be long, and how many there may be: nobody can hold the server by being slow. */
const REQUEST_MS = 5000;
const HEADER_BYTES = 8192;
const MOST_CONNECTIONS = 64;

/**
 * /healthz, /livez and /readyz with named checks (?verbose, ?exclude=NAME, /healthz/NAME) and /metrics, over plain HTTP.
 * Meant for loopback: there is no authentication.
 */
export class HealthServer {
  private readonly options: HealthServerOptions;
  private readonly deps: HealthServerDeps;
  private readonly server: Server;

  constructor(options: HealthServerOptions, deps: HealthServerDeps) {
    this.options = options;
    this.deps = deps;
    this.server = createServer(
      {
        requestTimeout: REQUEST_MS,
        headersTimeout: REQUEST_MS,
        keepAliveTimeout: REQUEST_MS,
        connectionsCheckingInterval: 1000,
        maxHeaderSize: HEADER_BYTES,
      },
      (request, response) => void this.answer(request, response),
    );
    this.server.maxConnections = MOST_CONNECTIONS;
  }

  /** The port it listens on, once started. */
  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? this.options.port;
  }

  /** Throws Unavailable when the address cannot be had, and says which. */
  async start(): Promise<void> {
    const words = { what: 'health', otherwise: 'healthzPort and healthzBindAddress' };
    await listen(this.server, this.options, words, this.deps.logger);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      // A body is nothing that is wanted here.
      request.resume();
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD');
        send(response, 405, 'method not allowed\n');
        return;
      }
      const url = URL.canParse(request.url ?? '', 'http://host')
        ? new URL(request.url ?? '', 'http://host')
        : undefined;
      const [endpoint = '', name, ...rest] = (url?.pathname ?? '').slice(1).split('/');
      if (url === undefined || rest.length > 0) send(response, 404, 'not found\n');
      else if (endpoint === 'metrics' && name === undefined) {
        send(response, 200, await this.deps.metrics.text(), this.deps.metrics.contentType);
      } else await this.health(response, endpoint, name, url.searchParams);
    } catch (error) {
      this.deps.logger.error({ path: request.url, error: messageOf(error) }, 'could not answer a health request');
      if (!response.headersSent) send(response, 500, 'internal error\n');
    }
  }

  private async health(
    response: ServerResponse,
    endpoint: string,
    name: string | undefined,
    query: URLSearchParams,
  ): Promise<void> {
    const kinds = Object.hasOwn(ENDPOINTS, endpoint) ? ENDPOINTS[endpoint] : undefined;
    const excluded = query.getAll('exclude');
    const checks = this.deps.checks.filter(
      (check) =>
        kinds?.includes(check.kind) && !excluded.includes(check.name) && (name === undefined || check.name === name),
    );
    if (kinds === undefined || (name !== undefined && checks.length === 0)) {
      send(response, 404, 'not found\n');
      return;
    }
    const { clock } = this.deps;
    const results = await runChecks(
      checks,
      (ms, signal) => clock.sleep(ms, signal),
      this.options.checkTimeoutMs ?? 2000,
    );
    const failed = results.some(({ problem }) => problem !== undefined);
    send(response, failed ? 500 : 200, checksText(endpoint, results, query.has('verbose')));
  }
}

function send(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  });
  response.end(body);
}
