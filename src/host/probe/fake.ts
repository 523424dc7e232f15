import { type Clock, sleepOn } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import { addressOf } from './network-error.ts';
import {
  type GrpcRequest,
  type HttpGetRequest,
  type HttpHookReply,
  MAX_OUTPUT_BYTES,
  type ProbePort,
  type ProbeReply,
  type TcpSocketRequest,
} from './port.ts';

export interface FakeHttpRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface FakeHttpAnswer {
  readonly status: number;
  readonly location?: string;
  readonly body?: string;
  /** Before the head. */
  readonly delayMs?: number;
  /** Closes the connection instead of answering. */
  readonly hangUp?: boolean;
}

/** What listens on one address. */
export interface FakeServer {
  readonly tls?: boolean;
  readonly http?: (request: FakeHttpRequest) => FakeHttpAnswer;
  /** The status name of a service, or undefined when the server has no health service. */
  readonly grpc?: (service: string) => string | undefined;
  /** Accepts nothing and refuses nothing: packets vanish. */
  readonly blackHole?: boolean;
}

const SUCCESS: ProbeReply = { verdict: 'success', output: '' };
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** A small network in memory: servers at addresses, refused connections where there is none, time by the clock. */
export class FakeProbe implements ProbePort {
  private readonly servers = new Map<string, FakeServer>();
  private readonly clock: Clock;
  private readonly closing = new AbortController();
  private inFlight = 0;
  /** The most requests that were ever under way at once. */
  peak = 0;
  /** How many requests were made. */
  requests = 0;

  constructor(deps: { readonly clock: Clock }) {
    this.clock = deps.clock;
  }

  /** Binds a server; an address takes one only. */
  listen(host: string, port: number, server: FakeServer): void {
    const address = addressOf(host, port);
    if (this.servers.has(address))
      throw new CodedError('AlreadyExists', `listen tcp ${address}: address already in use`);
    this.servers.set(address, server);
  }

  unlisten(host: string, port: number): void {
    if (!this.servers.delete(addressOf(host, port))) {
      throw new CodedError('NotFound', `nothing listens on ${addressOf(host, port)}`);
    }
  }

  httpGet(request: HttpGetRequest): Promise<ProbeReply> {
    return this.counted(async () => {
      const answer = await this.get(request);
      if ('output' in answer) return answer;
      if (answer.status >= 200 && answer.status < 300) return SUCCESS;
      if (answer.status >= 300 && answer.status < 400) {
        const output = `Probe terminated redirects, Response body: ${(answer.body ?? '').slice(0, MAX_OUTPUT_BYTES)}`;
        return { verdict: 'warning', output: output.slice(0, MAX_OUTPUT_BYTES) };
      }
      return failure(`HTTP probe failed with statuscode: ${answer.status}`);
    });
  }

  httpHook(request: HttpGetRequest, signal?: AbortSignal): Promise<HttpHookReply> {
    return this.counted(async () => {
      const server = this.servers.get(addressOf(request.host, request.port));
      const fellBackToHttp = request.scheme === 'https' && server?.http !== undefined && server.tls !== true;
      const answer = await this.get(fellBackToHttp ? { ...request, scheme: 'http' } : request, signal);
      if ('output' in answer) {
        throw new CodedError(
          answer.output.includes('deadline exceeded') ? 'DeadlineExceeded' : 'Unavailable',
          answer.output,
        );
      }
      return { status: answer.status, fellBackToHttp };
    });
  }

  tcpSocket(request: TcpSocketRequest): Promise<ProbeReply> {
    return this.counted(async () => {
      const address = addressOf(request.host, request.port);
      const server = this.servers.get(address);
      if (server === undefined) return failure(`dial tcp ${address}: connect: connection refused`);
      if (server.blackHole === true) {
        await this.wait(request.timeoutMs);
        return failure(`dial tcp ${address}: i/o timeout`);
      }
      return SUCCESS;
    });
  }

  grpc(request: GrpcRequest): Promise<ProbeReply> {
    return this.counted(async () => {
      const address = addressOf(request.host, request.port);
      const server = this.servers.get(address);
      if (server === undefined) {
        return failure(
          `error: failed to connect service at "${address}": dial tcp ${address}: connect: connection refused`,
        );
      }
      if (server.blackHole === true || server.grpc === undefined) {
        await this.wait(request.timeoutMs);
        return failure(
          `timeout: failed to connect service "${address}" within ${request.timeoutMs / 1000}s: context deadline exceeded`,
        );
      }
      const status = server.grpc(request.service);
      if (status === undefined) {
        return failure('error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ');
      }
      return status === 'SERVING' ? SUCCESS : failure(`service unhealthy (responded with "${status}")`);
    });
  }

  close(): void {
    this.closing.abort(new CodedError('Aborted', 'the prober is closed'));
  }

  private async counted<T>(run: () => Promise<T>): Promise<T> {
    this.closing.signal.throwIfAborted();
    this.requests++;
    this.inFlight++;
    this.peak = Math.max(this.peak, this.inFlight);
    try {
      return await run();
    } finally {
      this.inFlight--;
    }
  }

  private wait(ms: number, signal?: AbortSignal): Promise<void> {
    const both = signal === undefined ? this.closing.signal : AbortSignal.any([signal, this.closing.signal]);
    return sleepOn(this.clock, ms, both).catch(() => {
      throw new CodedError('Aborted', 'the prober is closed or the caller gave up');
    });
  }

  /** The last answer of a chain of redirects, or the failure that ended it. */
  private async get(request: HttpGetRequest, signal?: AbortSignal): Promise<FakeHttpAnswer | ProbeReply> {
    const deadline = this.clock.monotonic() + request.timeoutMs;
    let url = new URL(
      `${request.scheme}://${addressOf(request.host, request.port)}${request.path.replace(/^(?!\/)/, '/')}`,
    );
    for (let hops = 0; ; hops++) {
      const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
      const address = addressOf(request.host, port);
      const text = `${url.protocol}//${address}${url.pathname}${url.search}`;
      const server = this.servers.get(address);
      if (server === undefined) return failure(`Get "${text}": dial tcp ${address}: connect: connection refused`);
      const answer: FakeHttpAnswer | undefined =
        server.http === undefined
          ? undefined
          : server.http({ path: url.pathname + url.search, headers: headersOf(request) });
      const timeout = failure(
        `Get "${text}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
      );
      if (server.blackHole === true || answer === undefined) {
        await this.wait(deadline - this.clock.monotonic(), signal);
        return timeout;
      }
      if ((server.tls === true) !== (url.protocol === 'https:')) {
        return failure(
          `Get "${text}": ${server.tls === true ? 'EOF' : 'http: server gave HTTP response to HTTPS client'}`,
        );
      }
      if (answer.hangUp === true) return failure(`Get "${text}": EOF`);
      if ((answer.delayMs ?? 0) > 0) {
        const left = deadline - this.clock.monotonic();
        await this.wait(Math.min(answer.delayMs ?? 0, left), signal);
        if ((answer.delayMs ?? 0) > left) return timeout;
      }
      if (!REDIRECTS.has(answer.status) || answer.location === undefined) return answer;
      const next = new URL(answer.location, url);
      if (next.hostname !== url.hostname) return answer;
      if (hops >= 10) return failure(`Get "${text}": stopped after 10 redirects`);
      url = next;
    }
  }
}

function failure(output: string): ProbeReply {
  return { verdict: 'failure', output };
}

function headersOf(request: HttpGetRequest): Record<string, string> {
  const headers: Record<string, string> = {
    host: addressOf(request.host, request.port),
    'user-agent': 'kube-probe/fake',
    accept: '*/*',
  };
  for (const { name, value } of request.headers) headers[name.toLowerCase()] = value;
  if (headers['accept'] === '') delete headers['accept'];
  return headers;
}
