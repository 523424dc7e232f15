import type { Clock } from '../kit/clock.ts';
import type { Unsubscribe } from '../kit/emitter.ts';
import { CodedError } from '../kit/errors.ts';
import type { ConnectionCredentials } from './connection-credentials.ts';
import { Dialer, type DialerOptions } from './dialer.ts';
import { Http1Lane } from './http1-lane.ts';
import {
  type Lane,
  ProtocolChanged,
  type TransportAnswer,
  type TransportFailure,
  type TransportRequest,
} from './transport.ts';

export interface ApiTransportOptions extends DialerOptions {
  /** False: HTTP/1.1 only. Default: what the server chooses, unless DISABLE_HTTP2 is set, which client-go heeds, too. */
  readonly http2?: boolean;
  /** HTTP/1.1: connections for requests other than watches. Default 8. */
  readonly maxConnections?: number;
  /** HTTP/2: see Http2LaneOptions. Default 30 s and 15 s, or HTTP2_READ_IDLE_TIMEOUT_SECONDS and HTTP2_PING_TIMEOUT_SECONDS. */
  readonly readIdleMs?: number;
  readonly pingMs?: number;
}

export interface ApiTransportDeps {
  readonly credentials: ConnectionCredentials;
  readonly clock: Clock;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly random?: () => number;
}

/**
 * Carries requests to one API server, over HTTP/2 or HTTP/1.1 as the server chooses. 100 watches cost 6 MB less in one
 * HTTP/2 connection than in 100 of TLS, and one handshake instead of 100 when the server comes back (bench/watch.ts).
 * When the credentials change, new requests go to new connections; those that stand end with what they carry.
 */
export class ApiTransport {
  readonly credentials: ConnectionCredentials;
  private readonly options: ApiTransportOptions;
  private readonly deps: ApiTransportDeps;
  private readonly env: Readonly<Record<string, string | undefined>>;
  private readonly dialer: Dialer;
  private readonly unsubscribe: Unsubscribe;
  private readonly lanes = new Set<Lane>();
  private lane: Lane | undefined;
  private opening: Promise<Lane> | undefined;
  /** Counts the changes of credentials. */
  private epoch = 0;
  private closed = false;

  constructor(options: ApiTransportOptions, deps: ApiTransportDeps) {
    this.options = options;
    this.deps = deps;
    this.credentials = deps.credentials;
    this.env = deps.env ?? process.env;
    this.dialer = new Dialer(options, { ...deps, env: this.env });
    this.unsubscribe = deps.credentials.subscribe(() => this.leave());
  }

  /** "host:port" as in metrics. */
  get host(): string {
    return this.dialer.server.host;
  }

  async request(asked: TransportRequest): Promise<TransportAnswer | TransportFailure> {
    let lane: Lane;
    try {
      lane = this.lane ?? (await this.open(asked.signal));
    } catch (error) {
      return { error, retry: 'never' };
    }
    const outcome = await lane.request(asked);
    if ('error' in outcome && outcome.error instanceof ProtocolChanged) {
      if (this.lane === lane) this.lane = undefined;
      return { error: outcome.error, retry: 'always' };
    }
    return outcome;
  }

  close(): void {
    this.closed = true;
    this.unsubscribe();
    this.lane = undefined;
    for (const lane of this.lanes) lane.close();
    this.lanes.clear();
  }

  private leave(): void {
    this.epoch++;
    const { lane } = this;
    this.lane = undefined;
    this.opening = undefined;
    lane?.retire();
    // What was left before has had the time of a whole generation.
    for (const old of this.lanes) {
      if (old === lane) continue;
      old.close();
      this.lanes.delete(old);
    }
  }

  private async open(signal: AbortSignal): Promise<Lane> {
    if (this.closed) throw new CodedError('Aborted', 'the connection to the API is closed');
    if (this.opening === undefined) {
      const opening = this.openLane().finally(() => {
        if (this.opening === opening) this.opening = undefined;
      });
      opening.catch(() => {});
      this.opening = opening;
    }
    const { opening } = this;
    return await new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      opening.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  private async openLane(): Promise<Lane> {
    const { epoch } = this;
    const { http2 = !this.env['DISABLE_HTTP2'], maxConnections = 8 } = this.options;
    const first = await this.dialer.dial(http2 ? ['h2', 'http/1.1'] : ['http/1.1']);
    const lane: Lane =
      first.protocol === 'h2'
        ? new (await import('./http2-lane.ts')).Http2Lane(
            this.http2Options(),
            { ...this.deps, dialer: this.dialer },
            first,
          )
        : new Http1Lane({ maxConnections }, this.dialer, first);
    if (this.closed) {
      lane.close();
      throw new CodedError('Aborted', 'the connection to the API is closed');
    }
    if (epoch !== this.epoch) {
      // The credentials changed meanwhile.
      lane.close();
      return await this.openLane();
    }
    this.lanes.add(lane);
    this.lane = lane;
    return lane;
  }

  private http2Options(): { readIdleMs: number; pingMs: number } {
    const seconds = (name: string, usual: number): number => {
      const given = Number(this.env[name] ?? usual);
      return (given >= 0 ? given : usual) * 1000;
    };
    return {
      readIdleMs: this.options.readIdleMs ?? seconds('HTTP2_READ_IDLE_TIMEOUT_SECONDS', 30),
      pingMs: this.options.pingMs ?? seconds('HTTP2_PING_TIMEOUT_SECONDS', 15),
    };
  }
}
